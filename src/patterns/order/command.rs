//! What one may ask of an order.

use serde::{Deserialize, Serialize};

use super::{OrderId, PaymentId, ProductId, Reason, ShipmentId, UserId};
use crate::patterns::money::Money;

/// Asks; may be refused. JSON: `{"command":"PayOrder","order_id":...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command")]
pub enum OrderCommand {
    CreateOrder(CreateOrder),
    PayOrder(PayOrder),
    ShipOrder(ShipOrder),
    CancelOrder(CancelOrder),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOrder {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub product_id: ProductId,
    pub price: Money,
}

/// Records a payment that was made: whether the card has cover was asked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayOrder {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
    pub amount: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipOrder {
    pub order_id: OrderId,
    pub shipment_id: ShipmentId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    pub order_id: OrderId,
    pub reason: Reason,
}

impl OrderCommand {
    pub fn order_id(&self) -> &OrderId {
        match self {
            Self::CreateOrder(command) => &command.order_id,
            Self::PayOrder(command) => &command.order_id,
            Self::ShipOrder(command) => &command.order_id,
            Self::CancelOrder(command) => &command.order_id,
        }
    }

    /// `PayOrder`
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateOrder(_) => "CreateOrder",
            Self::PayOrder(_) => "PayOrder",
            Self::ShipOrder(_) => "ShipOrder",
            Self::CancelOrder(_) => "CancelOrder",
        }
    }
}

impl From<CreateOrder> for OrderCommand {
    fn from(command: CreateOrder) -> Self {
        Self::CreateOrder(command)
    }
}

impl From<PayOrder> for OrderCommand {
    fn from(command: PayOrder) -> Self {
        Self::PayOrder(command)
    }
}

impl From<ShipOrder> for OrderCommand {
    fn from(command: ShipOrder) -> Self {
        Self::ShipOrder(command)
    }
}

impl From<CancelOrder> for OrderCommand {
    fn from(command: CancelOrder) -> Self {
        Self::CancelOrder(command)
    }
}
