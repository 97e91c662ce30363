//! The client of the service: a call, and how it was answered.

use std::{net::SocketAddr, time::Duration};

use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

pub use super::orders::orders_service_client::OrdersServiceClient;
use super::{
    metadata::IDEMPOTENCY_KEY,
    orders::{CreateOrderRequest, CreateOrderResponse},
};

/// For a connection, and for a call; the server has a limit of its own.
const LIMIT: Duration = Duration::from_secs(10);

/// Somebody who calls.
pub struct Caller(OrdersServiceClient<Channel>);

/// An answer that is no yes, with what its details say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call was answered {}: {message}", super::statuses::name(*code))]
pub struct Refused {
    pub code: Code,
    pub message: String,
    /// ErrorInfo: the reason as a word.
    pub reason: Option<String>,
    /// BadRequest: each field, and what is wrong with it.
    pub fields: Vec<(String, String)>,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let fields = status.get_details_bad_request().map(|wrong| wrong.field_violations).unwrap_or_default();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: status.get_details_error_info().map(|info| info.reason),
            fields: fields.into_iter().map(|field| (field.field, field.description)).collect(),
        }
    }
}

impl Caller {
    /// Of the server there, without TLS; the connection is made by the first call.
    ///
    /// # Errors
    /// An address that is none.
    pub fn of(address: SocketAddr) -> Result<Self, Refused> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Self(OrdersServiceClient::new(endpoint.connect_timeout(LIMIT).timeout(LIMIT).connect_lazy())))
    }

    /// # Errors
    /// [`Refused`]; without an answer it may have been carried out: the same call by the same key tells.
    pub async fn create_order(
        &mut self,
        request: CreateOrderRequest,
        idempotency_key: Option<&str>,
    ) -> Result<CreateOrderResponse, Refused> {
        let mut request = Request::new(request);
        if let Some(key) = idempotency_key {
            let key = MetadataValue::try_from(key);
            let key = key.map_err(|error| Status::invalid_argument(format!("{IDEMPOTENCY_KEY}: {error}")))?;
            request.metadata_mut().insert(IDEMPOTENCY_KEY, key);
        }
        Ok(self.0.create_order(request).await?.into_inner())
    }
}
