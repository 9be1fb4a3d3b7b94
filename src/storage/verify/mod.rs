//! Checking a data directory: everything is read, nothing is changed.
//!
//! The directory is read twice. Once as a start reads it, which tells whether a broker would start; and once in a way
//! that goes on behind damage, which tells all of it and not only the first. See `docs/storage.md`.

mod bodies;
mod found_runs;
mod read_only;
mod report;
mod survey;

use std::collections::{BTreeSet, VecDeque};
use std::io;

use self::read_only::ReadOnly;
use self::report::Names;
pub use self::report::{Affected, CatalogueFile, JournalFile, Problem, Report, SegmentFile, Totals};
use self::survey::{Survey, survey};
use crate::storage::base::Base;
use crate::storage::catalogue::{self, Catalogue, Snapshot};
use crate::storage::disk::Disk;
use crate::storage::files::FileState;
use crate::storage::image::{Definitions, GLOBAL, Image, NamedQueue, VHOST};
use crate::storage::recovery::{NO_CATALOGUE, OLD_CATALOGUE, PREFIX, recover};
use crate::storage::writer::Tail;
use crate::storage::{room, segment};

pub(super) use self::bodies::Window;

/// Names that a repair gives to files that are damaged begin so.
pub const DAMAGED_PREFIX: &str = "damaged-";

/// Checks a data directory. Nothing else may use it meanwhile: hold its lock.
///
/// # Errors
/// If the disk fails. Damage is no error.
pub fn verify(disk: &dyn Disk) -> io::Result<Report> {
    Ok(Examined::new(disk)?.report)
}

/// A data directory, as far as it can be read.
pub(super) struct Examined {
    pub(super) report: Report,
    /// What is known of each vhost.
    pub(super) vhosts: Vec<(String, Definitions)>,
    /// Where messages in the journal are.
    pub(super) files: VecDeque<FileState>,
    /// Segments with damage, and others that cannot stay as they are.
    pub(super) damaged_segments: Vec<u64>,
    /// What a repair has to know of the journal.
    pub(super) journal: JournalState,
    /// What the catalogue is.
    pub(super) told: Told,
    /// The highest number that was given to a queue.
    pub(super) last_queue: u64,
}

/// What a repair has to know of the journal.
pub(super) struct JournalState {
    /// The names of the files that are needed.
    pub(super) needed: Vec<String>,
    /// A file is of another format version.
    pub(super) is_foreign: bool,
    /// The highest number that a file has, or should have.
    pub(super) highest: u64,
    /// The oldest file that was needed, as the newest one says.
    pub(super) told: u64,
    /// What would be appended next, and whether its address is known.
    pub(super) end: Option<(Tail, bool)>,
    /// Records that are lost; at least one if nobody knows how many.
    pub(super) lost: u64,
}

/// What the catalogue is.
pub(super) enum Told {
    /// There is none.
    Nothing,
    /// One that can be read.
    Snapshot(Snapshot),
    /// One that cannot, and why.
    Damaged(String),
}

impl Examined {
    pub(super) fn new(disk: &dyn Disk) -> io::Result<Self> {
        let mut report = Report::default();
        let told = read_catalogue(disk, &mut report)?;
        let strict = match &told {
            Told::Damaged(_) => None,
            Told::Nothing => start(disk, Snapshot::default())?,
            Told::Snapshot(snapshot) => start(disk, snapshot.clone())?,
        };
        let (mut survey, mut image, knows_segments) = look(disk, &told, &mut report)?;
        let mut files = survey.replay(&mut image)?;
        report.journal = std::mem::take(&mut survey.files);
        report.spare = std::mem::take(&mut survey.spare);
        let begin = report.problems.len();
        match strict {
            // What it has is what counts.
            Some(Ok((sound, where_it_is))) => (image, files, survey.lost) = (sound, where_it_is, 0),
            Some(Err(told)) if begin + survey.problems.len() == 0 => {
                report.problems.push(Problem::new("journal", 0, told));
            }
            _ => report.problems.append(&mut survey.problems),
        }
        if !knows_segments {
            found_runs::add_all(disk, &mut image, &mut report.problems)?;
        }
        let damaged_before = report.problems.iter().filter_map(|problem| segment::number_of(&problem.file));
        let mut damaged_segments: Vec<u64> = damaged_before.collect();
        let last_queue = image.last_queue();
        let (vhosts, names) = take_all(&mut image);
        name_queues(&mut report.problems, begin, &survey, &names);
        if !report.problems.is_empty() {
            note_orphans(&image, &mut report.problems);
        }
        let queues: Vec<&NamedQueue> = vhosts.iter().flat_map(|(_, vhost)| &vhost.queues).collect();
        let mut lost = bodies::check_journal(&files, &queues, &names, &mut report.problems)?;
        let known = match &told {
            _ if !knows_segments => None,
            Told::Snapshot(snapshot) => Some(&snapshot.segments[..]),
            Told::Nothing | Told::Damaged(_) => Some(&[][..]),
        };
        let segments = bodies::check_segments(disk, known, &queues, &names, &mut report.problems)?;
        lost += segments.lost;
        damaged_segments.extend(segments.damaged);
        (report.segments, report.leftovers) = (segments.files, segments.leftovers);
        (report.kept, report.others) = others(disk)?;
        report.totals = count(&vhosts, lost);
        let journal = JournalState {
            needed: survey.needed,
            is_foreign: survey.is_foreign,
            highest: survey.highest,
            told: survey.told,
            end: survey.end,
            lost: survey.lost,
        };
        Ok(Self { report, vhosts, files, damaged_segments, journal, told, last_queue })
    }
}

/// Names the queues that damaged records may be about.
fn name_queues(problems: &mut [Problem], begin: usize, survey: &Survey, names: &Names) {
    for (at, queues) in &survey.hints {
        let affected = problems.get_mut(begin + at).and_then(|problem| problem.affected.first_mut());
        if let Some(Affected::Records { queues: known, .. }) = affected {
            *known = names.known(queues);
        }
    }
}

/// Notes queues that have messages in the journal and whose definition is lost.
fn note_orphans(image: &Image, problems: &mut Vec<Problem>) {
    for (id, count) in image.orphans() {
        let what = format!("nothing declares queue number {id}, which has {count} messages");
        problems.push(Problem::new("journal", 0, what));
    }
}

/// Reads the catalogue, and notes what is wrong with it.
fn read_catalogue(disk: &dyn Disk, report: &mut Report) -> io::Result<Told> {
    match Catalogue::look(disk) {
        Ok(Some(snapshot)) => {
            report.catalogue = Some(CatalogueFile {
                oldest: snapshot.oldest,
                queues: snapshot.queues.len() as u64,
                segments: snapshot.segments.len() as u64,
            });
            Ok(Told::Snapshot(snapshot))
        }
        Ok(None) => Ok(Told::Nothing),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let told = error.to_string();
            report.problems.push(catalogue_problem(&told));
            Ok(Told::Damaged(told))
        }
        Err(error) => Err(error),
    }
}

fn catalogue_problem(told: &str) -> Problem {
    let what = told.strip_prefix("catalogue: ").unwrap_or(told);
    Problem::new(catalogue::NAME, 0, what).with([Affected::Everything])
}

type Found = Result<(Image, VecDeque<FileState>), String>;

/// What a start would find; `Err` inside if it would be refused.
fn start(disk: &dyn Disk, snapshot: Snapshot) -> io::Result<Option<Found>> {
    let found = Base::from_catalogue(snapshot).and_then(|base| recover(&ReadOnly(disk), base));
    match found {
        Ok(recovered) => Ok(Some(Ok((recovered.image, recovered.files)))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Err(error.to_string()))),
        Err(error) => Err(error),
    }
}

/// Looks at the journal in a way that goes on behind damage, and what state it is to be applied to; and whether that
/// knows what is in segments.
fn look(disk: &dyn Disk, told: &Told, report: &mut Report) -> io::Result<(Survey, Image, bool)> {
    let (snapshot, oldest) = match told {
        Told::Nothing => (None, Some(0)),
        Told::Snapshot(snapshot) => (Some(snapshot), Some(snapshot.oldest)),
        Told::Damaged(_) => (None, None),
    };
    let mut found = survey(disk, oldest)?;
    let problem = match oldest {
        // Without one the first file there ever was is needed.
        Some(0) if found.told > 1 || found.begins_late => Some(NO_CATALOGUE),
        Some(oldest) if oldest > 0 && oldest < found.told => Some(OLD_CATALOGUE),
        _ => None,
    };
    if let Some(problem) = problem {
        report.problems.push(catalogue_problem(problem));
        found = survey(disk, None)?;
    }
    let mut knows_segments = oldest.is_some() && problem.is_none();
    let image = match Base::from_catalogue(snapshot.cloned().unwrap_or_default()) {
        Ok(base) => base.image,
        Err(error) => {
            report.problems.push(catalogue_problem(&error.to_string()));
            knows_segments = false;
            Image::default()
        }
    };
    Ok((found, image, knows_segments))
}

/// Takes all vhosts out of an image.
fn take_all(image: &mut Image) -> (Vec<(String, Definitions)>, Names) {
    let mut names = Names::default();
    let vhosts: Vec<String> = image.scopes().map(str::to_owned).collect();
    let taken = vhosts.into_iter().map(|vhost| {
        let definitions = image.take(&vhost);
        for queue in &definitions.queues {
            names.add(queue.id, &vhost, &queue.name);
        }
        (vhost, definitions)
    });
    (taken.collect(), names)
}

/// Files that a repair has kept, and those that are none of a broker's.
fn others(disk: &dyn Disk) -> io::Result<(Vec<String>, Vec<String>)> {
    let is_known = |name: &String| {
        name.starts_with(PREFIX)
            || segment::number_of(name).is_some()
            || [catalogue::NAME, catalogue::DRAFT, room::RESERVE_NAME].contains(&name.as_str())
    };
    let others = disk.list()?.into_iter().filter(|name| !is_known(name));
    Ok(others.partition(|name| name.starts_with(DAMAGED_PREFIX)))
}

/// Whether every vhost has an exchange of this name.
fn is_predeclared(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}

/// The vhosts that are said to be there, and those that something is in.
fn count_vhosts(scopes: &[(String, Definitions)]) -> u64 {
    let mut names: BTreeSet<&str> = scopes.iter().map(|(name, _)| name.as_str()).collect();
    names.remove(GLOBAL);
    let global = scopes.iter().filter(|(name, _)| name == GLOBAL).flat_map(|(_, global)| &global.parameters);
    names.extend(global.filter(|parameter| parameter.component == VHOST).map(|parameter| &*parameter.name));
    names.len() as u64
}

fn count(vhosts: &[(String, Definitions)], lost: u64) -> Totals {
    let mut totals = Totals { vhosts: count_vhosts(vhosts), lost, ..Totals::default() };
    for (_, vhost) in vhosts {
        let own = vhost.exchanges.iter().filter(|exchange| !is_predeclared(&exchange.name));
        totals.exchanges += own.count() as u64;
        totals.queues += vhost.queues.len() as u64;
        totals.bindings += vhost.bindings.len() as u64;
        for queue in &vhost.queues {
            totals.messages += queue.content.messages.len() as u64;
            totals.messages += queue.content.runs.iter().map(|run| run.live.len()).sum::<u64>();
        }
    }
    totals.messages = totals.messages.saturating_sub(lost);
    totals
}
