//! Streams in which nothing happens, and whose readers take nothing. tests/python/management has those that tell.

use super::*;
use crate::broker::Broker;
use crate::broker::options::BrokerOptions;
use crate::management::everything;
use crate::management::options::{ManagementOptions, SharedOptions};
use crate::management::sessions::Sessions;
use crate::server::clock;

/// A duration that a test can wait for.
const SHORT: Duration = Duration::from_millis(300);

/// One that does not come to an end in a test.
const LONG: Duration = Duration::from_secs(600);

fn api(pace: Pace) -> Arc<Api> {
    let broker = Broker::ephemeral(BrokerOptions::default()).unwrap();
    let options = ManagementOptions::of_nobody();
    let sessions = Arc::new(Sessions::new(options.session_timeout));
    let mut api = Api::new(&broker, &SharedOptions::new(options), &sessions, clock::now);
    Arc::get_mut(&mut api).unwrap().streams.pace = pace;
    api
}

/// The body of a stream of two things that do not change.
async fn stream(api: &Arc<Api>) -> Body {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = "/api/stream?path=version&path=extensions".parse().unwrap();
    request.extensions_mut().insert(Origin::Local);
    let response = everything(api, "", Router::new()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

/// The next event as text; none at the end, and an error if it broke off.
async fn next(body: &mut Body) -> Result<Option<String>, axum::Error> {
    let Some(frame) = body.frame().await else { return Ok(None) };
    Ok(Some(String::from_utf8(frame?.into_data().unwrap().to_vec()).unwrap()))
}

fn open(api: &Arc<Api>) -> usize {
    api.streams.taken.lock().values().sum()
}

#[tokio::test]
async fn a_stream_in_which_nothing_happens_says_that_it_is_alive() {
    let api = api(Pace { silence: SHORT, patience: LONG });
    let mut body = stream(&api).await;
    for path in ["version", "extensions"] {
        let event = next(&mut body).await.unwrap().unwrap();
        assert!(event.starts_with(&format!("data: {{\"path\":\"{path}\",\"status\":200,")), "{event}");
    }
    for _ in 0..2 {
        let before = Instant::now();
        let event = next(&mut body).await.unwrap().unwrap();
        assert_eq!(event, "event: alive\ndata: {}\n\n");
        // It may have been sent a while before it is looked for.
        assert!(before.elapsed() >= SHORT / 2, "{:?}", before.elapsed());
    }
    assert_eq!(open(&api), 1);
    api.ending.cancel();
    while next(&mut body).await.unwrap().is_some() {}
    assert_eq!(open(&api), 0, "the end is no breach");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut() {
    let api = api(Pace { silence: LONG, patience: SHORT });
    let mut body = stream(&api).await;
    assert_eq!(open(&api), 1);
    let before = Instant::now();
    let freed = async {
        while open(&api) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), freed).await.unwrap();
    assert!(before.elapsed() >= SHORT, "{:?}", before.elapsed());
    // What was sent before can be taken still, and nothing of what came after.
    assert!(next(&mut body).await.unwrap().unwrap().contains("version"));
    assert!(next(&mut body).await.is_err(), "it broke off");
}

#[tokio::test]
async fn a_reader_that_takes_its_time_is_not() {
    let api = api(Pace { silence: SHORT, patience: LONG });
    let mut body = stream(&api).await;
    tokio::time::sleep(SHORT * 3).await;
    for what in ["version", "extensions", "alive", "alive"] {
        assert!(next(&mut body).await.unwrap().unwrap().contains(what), "{what}");
    }
    assert_eq!(open(&api), 1);
}
