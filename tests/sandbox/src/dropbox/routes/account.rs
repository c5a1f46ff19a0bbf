//! `users/get_space_usage`, `check/user`, `auth/token/revoke`.

use super::super::answer::{Answer, Refusal};
use super::super::service::Call;
use serde_json::{Value, json};

pub(super) fn space_usage(call: Call<'_, '_>) -> Result<Answer, Refusal> {
    call.no_argument()?;
    let world = call.shared.world();
    Ok(Answer::Json(json!({
        "used": world.used_bytes(),
        "allocation": { ".tag": "individual", "allocated": world.allocated_bytes },
    })))
}

pub(super) fn check_user(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let query = fields.optional_string("query")?.unwrap_or_default();
    if query.chars().count() > 500 {
        return Err(fields.bad("query", "must be at most 500 characters").into());
    }
    fields.end()?;
    Ok(Answer::Json(json!({ "result": query })))
}

/// Disables the token, its refresh token and the access tokens beside it.
pub(super) fn revoke(call: Call<'_, '_>) -> Result<Answer, Refusal> {
    call.no_argument()?;
    let mut world = call.shared.world();
    let grant = world
        .access_tokens
        .get(&call.token)
        .map(|token| token.grant);
    if let Some(grant) = grant {
        world.grants[grant].is_revoked = true;
    }
    Ok(Answer::Json(Value::Null))
}
