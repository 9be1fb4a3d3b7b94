//! What is in segment files when no catalogue says so: their items tell queue and position themselves.
//!
//! Which of them were acknowledged only the catalogue knew, and the journal as far as it goes back. So messages may come
//! back that were acknowledged.

use std::collections::BTreeMap;
use std::io;

use super::report::Problem;
use crate::ids::{Position, QueueId};
use crate::storage::disk::{Disk, Open};
use crate::storage::image::{Image, RunImage};
use crate::storage::segment::{self, Content, Found, Kind, RunReader, read_header};

/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// Adds to `image` all messages in segments whose queues it knows.
pub(super) fn add_all(disk: &dyn Disk, image: &mut Image, problems: &mut Vec<Problem>) -> io::Result<()> {
    for name in disk.list()? {
        let Some(number) = segment::number_of(&name) else { continue };
        let file = disk.open(&name, Open::Read)?;
        if read_header(&*file)?.is_ok_and(|header| header.kind == Kind::Transient) {
            continue;
        }
        let mut scratch = Vec::new();
        let mut reader = RunReader::all(&*file, number, CHUNK, &mut scratch)?;
        let mut unknown: BTreeMap<QueueId, u64> = BTreeMap::new();
        let mut run: Option<(QueueId, Position, RunImage)> = None;
        while let Some(found) = reader.read_next()? {
            let Found::Item(item) = found else { continue };
            let (queue, position) = (item.queue(), item.position());
            if !image.is_declared(queue) {
                *unknown.entry(queue).or_default() += 1;
                continue;
            }
            let continues = run.as_ref().is_some_and(|(of, last, _)| *of == queue && *last < position);
            if !continues && let Some((of, _, done)) = run.take() {
                image.add_run(of, done);
            }
            let begin = || RunImage { segment: number, from: item.offset(), ..RunImage::default() };
            let (_, last, run) = run.get_or_insert_with(|| (queue, position, begin()));
            *last = position;
            run.until = item.end();
            run.live.insert(position.0);
            run.bytes += match reader.content(&item)? {
                Content::Message(message) => message.body_len(),
                Content::Reference(_) | Content::Damaged => 0,
            };
        }
        if let Some((of, _, done)) = run {
            image.add_run(of, done);
        }
        for (queue, count) in unknown {
            image.set_last_queue(queue.0);
            let what = format!("nothing declares queue number {queue}, which has {count} messages here");
            problems.push(Problem::new(name.as_str(), 0, what));
        }
    }
    Ok(())
}
