//! A copy of the data directory. Only by the control socket: it is made in a place on the broker's own machine.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::management::answer::{Answer, Sink};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::progress::{self, PROGRESS, tell};
use crate::management::routes::{Resource, post};
use crate::management::visitor::Level;
use crate::storage::backup::{Report, Watch};
use crate::storage::disk::RealDisk;

/// How long what is under way may hold up the end of the server.
const LAST_WORK: Duration = Duration::from_secs(3);

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    vec![Resource::new("/backup", [post(Level::Local, make)])]
}

/// The body is an absolute path, byte for byte.
fn make(call: &Call) -> Result<Answer, ApiError> {
    let path = Path::new(OsStr::from_bytes(&call.body));
    if !path.is_absolute() {
        return Err(ApiError::bad("the body should be an absolute path"));
    }
    let refused = |error: io::Error| ApiError::bad(error.to_string());
    let data_dir = call.api.data_dir.get().ok_or_else(|| ApiError::bad("there is no data directory"))?;
    let target = RealDisk::open_empty(path, data_dir).map_err(refused)?;
    let (path, broker, ending) = (path.to_path_buf(), call.broker().clone(), call.api.ending.clone());
    Ok(progress::answer(move |sink| {
        tracing::info!(?path, "a backup begins");
        let watch = Arc::new(Watch::default());
        let work = {
            let watch = watch.clone();
            tokio::task::spawn_blocking(move || broker.backup(&target, &watch))
        };
        told(&path, accompany(work, &watch, sink, &ending))
    }))
}

fn told(path: &PathBuf, done: io::Result<Report>) -> Result<Value, String> {
    match done {
        Ok(Report { files, bytes }) => {
            tracing::info!(?path, files, bytes, "a backup is complete");
            Ok(json!({ "files": files, "bytes": bytes }))
        }
        Err(error) => {
            tracing::warn!(?path, %error, "a backup failed");
            Err(error.to_string())
        }
    }
}

/// Tells a client how far its work is until it is done. Stops the work if the client goes, or the server ends.
fn accompany(
    mut work: JoinHandle<io::Result<Report>>,
    watch: &Watch,
    sink: &mut Sink,
    ending: &CancellationToken,
) -> io::Result<Report> {
    let runtime = Handle::current();
    let joined = |done: Result<_, _>| done.unwrap_or_else(|error| Err(io::Error::other(error)));
    loop {
        let waited = async { timeout(PROGRESS, &mut work).await };
        match runtime.block_on(ending.run_until_cancelled(waited)) {
            Some(Ok(done)) => return joined(done),
            Some(Err(_)) => {
                let (done, of) = watch.progress();
                if !tell(sink, done, of) {
                    watch.stop();
                }
            }
            None => {
                watch.stop();
                // A disk that hangs does not hold up the end.
                return match runtime.block_on(async { timeout(LAST_WORK, work).await }) {
                    Ok(done) => joined(done),
                    Err(_) => Err(io::Error::other("the broker is stopping")),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::answer::{Chunk, piped};

    /// Work that goes on until it is stopped.
    fn endless(watch: &Arc<Watch>) -> JoinHandle<io::Result<Report>> {
        let watch = watch.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                watch.check()?;
                std::thread::yield_now();
            }
        })
    }

    #[test]
    fn a_client_that_goes_stops_what_it_asked_for_and_so_does_the_end() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let (ending, watch) = (CancellationToken::new(), Arc::new(Watch::default()));
        let (mut sink, chunks) = piped();
        drop(chunks);
        let gone = accompany(endless(&watch), &watch, &mut sink, &ending);
        assert_eq!(gone.unwrap_err().to_string(), "it was stopped");

        let watch = Arc::new(Watch::default());
        let (mut sink, mut chunks) = piped();
        let stop = ending.clone();
        let told = runtime.spawn(async move {
            let Some(Chunk::Bytes(line)) = chunks.recv().await else { panic!("no line") };
            stop.cancel();
            line
        });
        let ended = accompany(endless(&watch), &watch, &mut sink, &ending);
        assert_eq!(ended.unwrap_err().to_string(), "it was stopped");
        assert_eq!(runtime.block_on(told).unwrap(), "{\"done\":0,\"of\":0}\n");
    }
}
