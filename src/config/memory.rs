//! How much memory this process may have: the machine's, or less if its control group says so.

use std::path::{Path, PathBuf};

/// The memory in bytes, as far as the operating system tells. `root` is `/` outside tests.
///
/// Limits count from every level between the process's control group and the top, since a group never gets more
/// than those above it. Both versions of control groups are read.
#[must_use]
pub fn available(root: &Path) -> Option<u64> {
    let machine = read(&root.join("proc/meminfo")).as_deref().and_then(total_of_meminfo);
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| limits_of(root, line));
    limits.chain(machine).min()
}

/// "MemTotal:       16384256 kB"
fn total_of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits that a line of `/proc/self/cgroup` leads to: "0::/path" for version 2, "4:memory:/path" for 1.
fn limits_of(root: &Path, line: &str) -> Vec<u64> {
    let mut parts = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (mount, file) = if controllers.is_empty() {
        (root.join("sys/fs/cgroup"), "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    // Inside a container the path may be the host's and not exist here; the walk ends at the mount, which does.
    let mut group: PathBuf = path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
    let mut limits = Vec::new();
    loop {
        // "max", for none, is not a number. Version 1 has a number close to 2^63 instead, which no minimum picks.
        limits.extend(read(&mount.join(&group).join(file)).and_then(|text| text.trim().parse::<u64>().ok()));
        if !group.pop() {
            return limits;
        }
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        4096 kB\nMemFree:          1 kB\n");

    #[test]
    fn without_groups_the_machine_counts() {
        assert_eq!(available(tree(&[MEMINFO]).path()), Some(4 << 20));
        assert_eq!(available(tree(&[]).path()), None);
    }

    #[test]
    fn the_tightest_group_of_version_2_counts() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "1048576\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        assert_eq!(available(root.path()), Some(1 << 20));
    }

    #[test]
    fn inside_a_container_the_mount_itself_counts() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/../not/seen/here\n"),
            ("sys/fs/cgroup/memory.max", "2097152\n"),
        ]);
        assert_eq!(available(root.path()), Some(2 << 20));
    }

    #[test]
    fn version_1_is_read_too() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "3145728\n"),
        ]);
        assert_eq!(available(root.path()), Some(3 << 20));
    }

    #[test]
    fn nonsense_is_no_limit() {
        let root = tree(&[("proc/meminfo", "MemTotal: lots\n"), ("proc/self/cgroup", "x\n::\n0::\n")]);
        assert_eq!(available(root.path()), None);
    }
}
