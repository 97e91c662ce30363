//! The caller's side of the story.

use super::{DemoError, Step, Tell, USER_ID, lesson};
use crate::grpc::{
    Code,
    client::{Caller, Refused},
    orders::{CreateOrderRequest, Money, Order},
    statuses,
};

pub(super) fn request(amount: f64) -> CreateOrderRequest {
    let price = Some(Money { currency: "USD".to_owned(), amount });
    CreateOrderRequest { user_id: USER_ID.to_owned(), product_id: "prod-456".to_owned(), price }
}

/// A call, and how it was answered.
pub(super) async fn call(
    caller: &mut Caller,
    request: CreateOrderRequest,
    key: Option<&str>,
    tell: Tell<'_>,
) -> Result<Order, Refused> {
    let price = request.price.clone().unwrap_or_default();
    tell(Step::Called {
        method: "CreateOrder",
        user_id: request.user_id.clone(),
        product_id: request.product_id.clone(),
        currency: price.currency,
        amount: price.amount,
        idempotency_key: key.map(str::to_owned),
    });
    match caller.create_order(request, key).await {
        Ok(answer) => {
            let (order, already_done) = (answer.order.unwrap_or_default(), answer.already_done);
            let status = order.status().as_str_name();
            let status = status.strip_prefix("ORDER_STATUS_").unwrap_or(status);
            let code = statuses::name(Code::Ok);
            tell(Step::Answered { code, order_id: order.order_id.clone(), status, already_done });
            Ok(order)
        }
        Err(refused) => {
            let Refused { code, message, reason, fields } = refused.clone();
            let (code, fields) = (statuses::name(code), fields.into_iter().collect());
            tell(Step::Refused { code, message, reason, fields });
            Err(refused)
        }
    }
}

pub(super) async fn a_wrong_request(caller: &mut Caller, tell: Tell<'_>) -> Result<(), DemoError> {
    tell(Step::Part { title: "A request that is wrong" });
    let price = Some(Money { currency: "usd".to_owned(), amount: -1.0 });
    let wrong = CreateOrderRequest { price, product_id: "prod-456".to_owned(), ..CreateOrderRequest::default() };
    refused(call(caller, wrong, None, tell).await, Code::InvalidArgument)?;
    lesson(
        tell,
        "All that is wrong is said in one answer, each field by its name, in details that a program can read.",
    );
    Ok(())
}

/// It must be, and with this code.
pub(super) fn refused(answer: Result<Order, Refused>, code: Code) -> Result<(), DemoError> {
    match answer {
        Err(refused) if refused.code == code => Ok(()),
        Err(refused) => Err(refused.into()),
        Ok(_) => Err(DemoError::Broken("a call that is wrong was answered OK")),
    }
}
