//! Errors on the wire: a code, a sentence, and google.rpc's details for programs.
//!
//! | code | when | details |
//! |---|---|---|
//! | `INVALID_ARGUMENT` | the request is wrong, whatever the state | BadRequest: each field |
//! | `NOT_FOUND` | no such order | ErrorInfo |
//! | `ALREADY_EXISTS` | the idempotency key was used for something else | ErrorInfo |
//! | `FAILED_PRECONDITION` | the order's rules say no, in its state | ErrorInfo |
//! | `RESOURCE_EXHAUSTED` | too large, or too many calls at once | RetryInfo for the latter |
//! | `DEADLINE_EXCEEDED` | the caller's time is over, or the server's: it may have been carried out | ErrorInfo |
//! | `ABORTED` | others were quicker, again and again | RetryInfo |
//! | `UNAVAILABLE` | the store is away: it may have been carried out | RetryInfo |
//! | `INTERNAL` | a defect or a damaged store; no word of it goes out | none |

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::patterns::order::{OrderId, Rejection};

/// In every ErrorInfo: whose reasons these are.
pub const DOMAIN: &str = "orders.kafkalab";
/// The reason where an idempotency key comes again with another content.
pub const KEY_REUSED: &str = "IDEMPOTENCY_KEY_REUSED";

/// Every field that is wrong, in one answer.
pub(super) fn invalid(violations: Vec<FieldViolation>) -> Status {
    let fields: Vec<String> =
        violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect();
    let details = ErrorDetails::with_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, fields.join("; "), details)
}

/// The order's rules say no.
pub fn rejected(rejection: &Rejection, order_id: &OrderId) -> Status {
    let code = match rejection {
        Rejection::NotThere { .. } => Code::NotFound,
        Rejection::AlreadyThere { .. } => Code::AlreadyExists,
        Rejection::PriceNotPositive { .. } => Code::InvalidArgument,
        _ => Code::FailedPrecondition,
    };
    info(code, rejection.to_string(), &rejection.code().to_ascii_uppercase(), order_id)
}

pub fn not_found(order_id: &OrderId) -> Status {
    rejected(&Rejection::NotThere { order_id: order_id.clone() }, order_id)
}

/// The key stands for something else already.
pub fn key_reused(order_id: &OrderId) -> Status {
    let text = "this idempotency-key was used with another content: a new key for something new".to_owned();
    info(Code::AlreadyExists, text, KEY_REUSED, order_id)
}

fn info(code: Code, text: String, reason: &str, order_id: &OrderId) -> Status {
    let about = HashMap::from([("order_id".to_owned(), order_id.to_string())]);
    Status::with_error_details(code, text, ErrorDetails::with_error_info(reason, DOMAIN, about))
}

/// The store is away. Whether it was carried out is not known.
pub fn unavailable(retry_after: Duration) -> Status {
    let text = "the store cannot be reached or written just now; try again with the same idempotency-key";
    Status::with_error_details(Code::Unavailable, text, ErrorDetails::with_retry_info(Some(retry_after)))
}

/// Others were quicker, each time.
pub fn contended(order_id: &OrderId) -> Status {
    let text = format!("order {order_id} is changed by too many at once; try again");
    Status::with_error_details(Code::Aborted, text, ErrorDetails::with_retry_info(Some(Duration::from_millis(100))))
}

/// More calls than the server takes at once.
pub(super) fn busy() -> Status {
    let text = "the server has as many calls as it takes; try again";
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(200)));
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// The time of the call is over.
pub(super) fn too_late() -> Status {
    let text = "the time for this call is over; whether it was carried out is not known: send it again with the same \
                idempotency-key";
    let details = ErrorDetails::with_error_info("DEADLINE", DOMAIN, HashMap::new());
    Status::with_error_details(Code::DeadlineExceeded, text, details)
}

/// A defect, or a store that is damaged. What happened stands in the server's log.
pub fn internal() -> Status {
    Status::internal("the server failed; its log says how")
}

/// A code as it is written in the specification.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
