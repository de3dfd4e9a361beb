//! What is answered to whom: see docs/control.md.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Weak;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::engine::Engine;
use super::readers::Lines;
use super::{Scope, metrics, report};
use crate::core::event::{Refusal, Steer, Steered};

/// The longest body of a request.
const BODY_LIMIT: usize = 64 << 10;
/// How long it may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

pub(super) type Answer = Response<Either<Full<Bytes>, Lines>>;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Status,
    Metrics,
    Events,
    Health,
    Ready,
    Reload,
    Restart(&'a str),
    Scale,
    Pause,
    Resume,
    Stop,
}

impl<'a> Route<'a> {
    fn of(path: &'a str, scope: Scope) -> Option<Self> {
        let route = match path {
            "/status" => Self::Status,
            "/metrics" => Self::Metrics,
            "/events" => Self::Events,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/reload" => Self::Reload,
            "/scale" => Self::Scale,
            "/pause" => Self::Pause,
            "/resume" => Self::Resume,
            "/stop" => Self::Stop,
            _ => {
                let slot = path.strip_prefix("/workers/")?.strip_suffix("/restart")?;
                Self::Restart(slot)
            }
        };
        // Whoever can reach an address of the network is nobody in particular.
        let is_probe = matches!(route, Self::Metrics | Self::Health | Self::Ready);
        (matches!(scope, Scope::Owner(_)) || is_probe).then_some(route)
    }

    fn is_looking(self) -> bool {
        matches!(
            self,
            Self::Status | Self::Metrics | Self::Events | Self::Health | Self::Ready
        )
    }
}

/// Answers one request.
pub(super) async fn answer(
    engine: Weak<RefCell<Engine>>,
    scope: Scope,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let Some(route) = Route::of(head.uri.path(), scope) else {
        let text = match scope {
            Scope::Owner(_) => "no such path: see docs/control.md of egg-cluster-rs",
            Scope::Anybody => "only /healthz, /readyz and /metrics are served here",
        };
        return Ok(error(StatusCode::NOT_FOUND, text));
    };
    let allowed = if route.is_looking() {
        "GET, HEAD"
    } else {
        "POST"
    };
    let is_allowed = match head.method {
        Method::GET | Method::HEAD => route.is_looking(),
        Method::POST => !route.is_looking(),
        _ => false,
    };
    if !is_allowed {
        let mut answer = error(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("{} takes {allowed}", head.uri.path()),
        );
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allowed));
        return Ok(answer);
    }
    Ok(if route.is_looking() {
        look(&engine, route).await
    } else {
        let peer = match scope {
            Scope::Owner(pid) => pid,
            Scope::Anybody => None,
        };
        steer(&engine, route, body, peer)
            .await
            .unwrap_or_else(Problem::answer)
    })
}

async fn look(engine: &Weak<RefCell<Engine>>, route: Route<'_>) -> Answer {
    let Some(strong) = engine.upgrade() else {
        return Problem::ended().answer();
    };
    match route {
        Route::Events => {
            let lines = strong.borrow_mut().control.readers.add();
            match lines {
                Some(lines) => with_body(StatusCode::OK, NDJSON, Either::Right(lines)),
                None => error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many readers follow the events already",
                ),
            }
        }
        Route::Health => json(StatusCode::OK, &json!({ "status": "ok" })),
        Route::Ready => match strong.borrow().core.not_ready() {
            None => json(StatusCode::OK, &json!({ "status": "ready" })),
            Some(reason) => json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({ "status": "not ready", "reason": reason }),
            ),
        },
        _ => {
            drop(strong);
            match report::make(engine).await {
                None => Problem::ended().answer(),
                Some(report) if route == Route::Metrics => text(
                    StatusCode::OK,
                    metrics::CONTENT_TYPE,
                    metrics::text(&report),
                ),
                Some(report) => json(StatusCode::OK, &report),
            }
        }
    }
}

async fn steer(
    engine: &Weak<RefCell<Engine>>,
    route: Route<'_>,
    body: Incoming,
    peer: Option<i32>,
) -> Result<Answer, Problem> {
    let body = read_body(body).await?;
    let wish = wish(route, &body)?;
    let engine = engine.upgrade().ok_or_else(Problem::ended)?;
    let steered = engine.borrow_mut().steer(wish, peer);
    match steered {
        Ok(steered) => Ok(json(
            if matches!(wish, Steer::Pause | Steer::Resume) || steered == Steered::Unchanged {
                StatusCode::OK
            } else {
                StatusCode::ACCEPTED
            },
            &match steered {
                Steered::Done => json!({ "result": "done" }),
                Steered::Unchanged => json!({ "result": "unchanged" }),
                Steered::Reload { number } => json!({ "result": "begun", "reload": number }),
            },
        )),
        Err(refusal) => Err(Problem::new(status_of(&refusal), refusal.to_string())),
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoSlot { .. } => StatusCode::NOT_FOUND,
        Refusal::BadCount(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::CONFLICT,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadBody {
    #[serde(default)]
    agent: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleBody {
    workers: u32,
}

fn wish(route: Route<'_>, body: &[u8]) -> Result<Steer, Problem> {
    let nothing = || {
        if body.trim_ascii().is_empty() || body.trim_ascii() == b"{}" {
            Ok(())
        } else {
            Err(bad("this takes no body"))
        }
    };
    match route {
        Route::Reload if body.trim_ascii().is_empty() => Ok(Steer::Reload { agent: false }),
        Route::Reload => {
            let ReloadBody { agent } = parse(body, r#"{"agent": true}, or nothing"#)?;
            Ok(Steer::Reload { agent })
        }
        Route::Scale => {
            let ScaleBody { workers } = parse(body, r#"{"workers": 4}"#)?;
            Ok(Steer::Scale { workers })
        }
        Route::Restart(slot) => {
            nothing()?;
            let slot = slot.parse().map_err(|_| {
                bad(&format!(
                    "a slot is a number from 0, not {slot:?}: /workers/0/restart"
                ))
            })?;
            Ok(Steer::Restart { slot })
        }
        Route::Pause => nothing().map(|()| Steer::Pause),
        Route::Resume => nothing().map(|()| Steer::Resume),
        _ => nothing().map(|()| Steer::Stop),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], wants: &str) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| bad(&format!("the body should be JSON such as {wants}: {error}")))
}

async fn read_body(body: Incoming) -> Result<Bytes, Problem> {
    let too_long = || {
        let text = format!("the body is longer than {BODY_LIMIT} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(too_long());
    }
    let read = Limited::new(body, BODY_LIMIT).collect();
    match tokio::time::timeout(BODY_TIME, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(reason)) if reason.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Ok(Err(_)) => Err(bad("the body is not complete")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body has not come in time".to_owned(),
        )),
    }
}

/// Why a request is not done.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    text: String,
}

impl Problem {
    fn new(status: StatusCode, text: String) -> Self {
        Self { status, text }
    }

    fn ended() -> Self {
        let text = "the master has ended".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn answer(self) -> Answer {
        error(self.status, &self.text)
    }
}

fn bad(text: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, text.to_owned())
}

fn error(status: StatusCode, text: &str) -> Answer {
    json(status, &json!({ "error": text }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Every field is a number, a text or JSON already, so this cannot fail.
    let mut body = serde_json::to_string(value).unwrap_or_default();
    body.push('\n');
    text(status, JSON, body)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Answer {
    with_body(status, kind, Either::Left(Full::new(body.into())))
}

fn with_body(status: StatusCode, kind: &'static str, body: Either<Full<Bytes>, Lines>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Scope = Scope::Owner(None);

    #[test]
    fn over_the_network_one_can_only_probe() {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert!(Route::of(path, Scope::Anybody).is_some(), "{path}");
        }
        let owners = [
            "/status",
            "/events",
            "/reload",
            "/scale",
            "/pause",
            "/resume",
            "/stop",
            "/workers/0/restart",
        ];
        for path in owners {
            assert!(Route::of(path, OWNER).is_some(), "{path}");
            assert_eq!(Route::of(path, Scope::Anybody), None, "{path}");
        }
        for path in [
            "/",
            "",
            "/Status",
            "/workers",
            "/workers/restart",
            "/workers//",
        ] {
            assert_eq!(Route::of(path, OWNER), None, "{path}");
        }
    }

    #[test]
    fn bodies_are_read_strictly() {
        let scale = |body: &[u8]| wish(Route::Scale, body).ok();
        assert_eq!(
            scale(br#"{"workers":3}"#),
            Some(Steer::Scale { workers: 3 })
        );
        for body in [
            "",
            "3",
            "{}",
            r#"{"workers":"3"}"#,
            r#"{"workers":-1}"#,
            r#"{"workers":1.5}"#,
            r#"{"workers":4294967296}"#,
            r#"{"workers":3,"slots":1}"#,
        ] {
            assert_eq!(scale(body.as_bytes()), None, "{body}");
        }
        let reload = |body: &[u8]| wish(Route::Reload, body).ok();
        assert_eq!(reload(b" \n"), Some(Steer::Reload { agent: false }));
        assert_eq!(
            reload(br#"{"agent":true}"#),
            Some(Steer::Reload { agent: true })
        );
        assert_eq!(reload(br#"{"agents":true}"#), None);
        assert_eq!(wish(Route::Pause, b"x").ok(), None);
        assert_eq!(
            wish(Route::Restart("1"), b"").ok(),
            Some(Steer::Restart { slot: 1 })
        );
        for slot in ["", "-1", "1.0", "one", "4294967296"] {
            assert_eq!(wish(Route::Restart(slot), b"").ok(), None, "{slot}");
        }
    }
}
