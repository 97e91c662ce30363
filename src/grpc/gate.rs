//! What every call passes, whatever it asks for: how many at once, until when, by which id. No panic gets out.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body, service::Routes};
use tower_service::Service;
use uuid::Uuid;

use super::{
    metadata::{REQUEST_ID, is_word},
    statuses,
};

/// A call that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `/orders.v1.OrdersService/CreateOrder`, as the caller wrote it.
    pub path: &'a str,
    /// Of a call whose answer is a stream: of its beginning.
    pub code: Code,
    pub took: Duration,
}

/// Hears of each call.
pub type Observe = Arc<dyn Fn(Call<'_>) + Send + Sync>;

/// The way to the services.
#[derive(Clone)]
pub(super) struct Gate {
    routes: Routes,
    calls: Arc<Semaphore>,
    longest: Duration,
    observe: Observe,
}

impl Gate {
    pub fn new(routes: Routes, calls: usize, longest: Duration, observe: Observe) -> Self {
        Self { routes, calls: Arc::new(Semaphore::new(calls)), longest, observe }
    }
}

impl hyper::service::Service<Request<Incoming>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let began = Instant::now();
        let (gate, path) = (self.clone(), request.uri().path().to_owned());
        let request_id = request_id(request.headers());
        request.headers_mut().insert(REQUEST_ID, request_id.clone());
        Box::pin(async move {
            let mut response = gate.answer(request).await.unwrap_or_else(|status| status.into_http());
            let code = too_large(response.headers_mut());
            response.headers_mut().insert(REQUEST_ID, request_id);
            (gate.observe)(Call { path: &path, code, took: began.elapsed() });
            Ok(response)
        })
    }
}

impl Gate {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let _call = self.calls.try_acquire().map_err(|_| statuses::busy())?;
        let asked = timeout(request.headers()).map_or(self.longest, |asked| asked.min(self.longest));
        if asked.is_zero() {
            return Err(statuses::too_late());
        }
        let mut routes = self.routes.clone();
        let answer = guarded(async move { routes.call(request).await });
        match tokio::time::timeout(asked, answer).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(statuses::too_late()),
        }
    }
}

/// A panic costs the call it is in, not the connection; its words are for the server's log, where the hook writes them.
async fn guarded<T>(answer: impl Future<Output = T>) -> Result<T, Status> {
    AssertUnwindSafe(answer).catch_unwind().await.map_err(|_| statuses::internal())
}

/// The caller's, where it is one that can stand in a header of an event.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| value.to_str().is_ok_and(is_word));
    // digits and hyphens: always a header's value
    given
        .cloned()
        .unwrap_or_else(|| HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("-")))
}

/// The code of the answer. A message that is too large is refused by tonic as OUT_OF_RANGE before any handler sees it; the
/// code for that is RESOURCE_EXHAUSTED. Nothing else here says OUT_OF_RANGE.
fn too_large(headers: &mut HeaderMap) -> Code {
    const STATUS: &str = "grpc-status";
    let code = headers.get(STATUS).map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()));
    if code != Code::OutOfRange {
        return code;
    }
    headers.insert(STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    Code::ResourceExhausted
}

/// `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP2, "Timeout"). One that cannot be read is none.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn a_timeout_has_up_to_eight_digits_and_a_unit() {
        let read = |text| timeout(&headers("grpc-timeout", text));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("50m"), Some(Duration::from_millis(50)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        for wrong in ["", "m", "5", "-5S", "123456789S", "5x", "5 S"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_callers_request_id_is_kept_and_one_that_is_none_is_replaced() {
        assert_eq!(request_id(&headers(REQUEST_ID, "abc-1")), "abc-1");
        for wrong in ["", "a b", &"x".repeat(129)] {
            let made = request_id(&headers(REQUEST_ID, wrong));
            assert!(made.to_str().unwrap().parse::<Uuid>().is_ok(), "{made:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_internal_and_says_nothing() {
        let status = guarded(async { panic!("the secret") }).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"), "{status:?}");
    }
}
