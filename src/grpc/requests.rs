//! From the wire to the domain: every field that is wrong, in one answer.

use std::fmt::Display;

use tonic::Status;
use tonic_types::FieldViolation;

use super::{orders as wire, statuses};
use crate::patterns::{
    money::{Currency, Money, MoneyError},
    order::{CancelOrder, CreateOrder, OrderId, PayOrder, PaymentId, Reason},
};

/// What a cancellation says that gives no reason.
const CANCELLED: &str = "cancelled";

/// The fields that are wrong so far.
#[derive(Default)]
struct Fields(Vec<FieldViolation>);

impl Fields {
    fn take<T, E: Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.0.push(FieldViolation::new(field, error.to_string()))).ok()
    }

    fn money(&mut self, field: &str, money: Option<wire::Money>) -> Option<Money> {
        let wire::Money { currency, amount } = self.take(field, money.ok_or("is missing"))?;
        let currency: Option<Currency> = self.take(&format!("{field}.currency"), currency.parse::<Currency>());
        // what can be said without the currency is said all the same
        let amount = match currency {
            Some(currency) => Money::from_f64(amount, currency).map_err(in_words),
            None if !amount.is_finite() => Err(format!("{amount} is no amount")),
            None if amount <= 0.0 => Err("must be more than zero".to_owned()),
            None => return None,
        };
        let amount = amount
            .and_then(|money| if money.is_positive() { Ok(money) } else { Err("must be more than zero".to_owned()) });
        self.take(&format!("{field}.amount"), amount)
    }

    /// What was made of the fields, or what is wrong with them.
    fn end<T>(self, made: Option<T>) -> Result<T, Status> {
        made.filter(|_| self.0.is_empty()).ok_or_else(|| statuses::invalid(self.0))
    }
}

fn in_words(error: MoneyError) -> String {
    match error {
        MoneyError::TooLongANumber { given, .. } => {
            format!("{given} has more than 15 digits in smallest units: there, one number stands for several amounts")
        }
        error => error.to_string(),
    }
}

/// # Errors
/// `INVALID_ARGUMENT` with every field that is wrong.
pub fn create_order(request: wire::CreateOrderRequest, order_id: OrderId) -> Result<CreateOrder, Status> {
    let mut fields = Fields::default();
    let user_id = fields.take("user_id", request.user_id.parse());
    let product_id = fields.take("product_id", request.product_id.parse());
    let price = fields.money("price", request.price);
    let made = user_id.zip(product_id).zip(price);
    fields.end(made.map(|((user_id, product_id), price)| CreateOrder { order_id, user_id, product_id, price }))
}

/// # Errors
/// As [`create_order`].
pub fn get_order(request: &wire::GetOrderRequest) -> Result<OrderId, Status> {
    let mut fields = Fields::default();
    let order_id = fields.take("order_id", request.order_id.parse());
    fields.end(order_id)
}

/// `by_key` is the payment's id where the request has none.
///
/// # Errors
/// As [`create_order`].
pub fn pay_order(request: wire::PayOrderRequest, by_key: Option<PaymentId>) -> Result<PayOrder, Status> {
    let mut fields = Fields::default();
    let order_id = fields.take("order_id", request.order_id.parse());
    let payment_id = match (request.payment_id.is_empty(), by_key) {
        (true, Some(payment_id)) => Some(payment_id),
        (true, None) => {
            fields.take("payment_id", Err("is missing; so is an idempotency-key, from which it could follow"))
        }
        (false, _) => fields.take("payment_id", request.payment_id.parse()),
    };
    let amount = fields.money("amount", request.amount);
    let made = order_id.zip(payment_id).zip(amount);
    fields.end(made.map(|((order_id, payment_id), amount)| PayOrder { order_id, payment_id, amount }))
}

/// # Errors
/// As [`create_order`].
pub fn cancel_order(request: wire::CancelOrderRequest) -> Result<CancelOrder, Status> {
    let mut fields = Fields::default();
    let order_id = fields.take("order_id", request.order_id.parse());
    let reason = if request.reason.is_empty() { CANCELLED } else { &request.reason };
    let reason = fields.take("reason", Reason::new(reason));
    fields.end(order_id.zip(reason).map(|(order_id, reason)| CancelOrder { order_id, reason }))
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    fn create(user_id: &str, product_id: &str, price: Option<(&str, f64)>) -> Result<CreateOrder, Vec<String>> {
        let price = price.map(|(currency, amount)| wire::Money { currency: currency.to_owned(), amount });
        let request =
            wire::CreateOrderRequest { user_id: user_id.to_owned(), product_id: product_id.to_owned(), price };
        create_order(request, "o-1".parse().unwrap()).map_err(|status| {
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            let wrong = status.get_details_bad_request().expect("details");
            wrong.field_violations.into_iter().map(|wrong| wrong.field).collect()
        })
    }

    #[test]
    fn a_number_is_taken_by_its_shortest_decimal() {
        for (currency, amount, minor) in
            [("USD", 99.99, 9999), ("USD", 0.29, 29), ("JPY", 2800.0, 2800), ("KWD", 18.25, 18250)]
        {
            assert_eq!(create("u", "p", Some((currency, amount))).unwrap().price.minor(), minor, "{currency} {amount}");
        }
        assert_eq!(create("u", "p", Some(("USD", 9_999_999_999_999.99))).unwrap().price.minor(), 999_999_999_999_999);
    }

    #[test]
    fn what_the_currency_cannot_hold_is_refused() {
        let wrong =
            [0.1 + 0.2, 9.999, -1.0, 0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e13, 1e300, 5e-324];
        for amount in wrong {
            assert_eq!(create("u", "p", Some(("USD", amount))), Err(vec!["price.amount".to_owned()]), "{amount}");
        }
        assert_eq!(create("u", "p", Some(("JPY", 9.5))), Err(vec!["price.amount".to_owned()]));
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        assert_eq!(create("", "", None), Err(["user_id", "product_id", "price"].map(str::to_owned).to_vec()));
        let all = ["user_id", "product_id", "price.currency", "price.amount"].map(str::to_owned).to_vec();
        assert_eq!(create("\u{1b}[2J", &"x".repeat(129), Some(("usd", -1.0))), Err(all));
    }
}
