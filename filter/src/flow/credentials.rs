//! What a request shows by itself: a signature, or an API key.

use crate::config::{Identity, Signatures};
use crate::identity::keys::{self, Shown};
use crate::identity::signature::{self, Fault, Signed};
use crate::identity::{Denial, Outcome, nonces};
use crate::ports::{Host, Store, update};
use crate::values::headers::Headers;

pub(super) use crate::identity::signature::Owed;

/// What a request shows; `None` where it shows nothing. What was for us alone is added to `withheld`.
///
/// A signature decides alone: it covers what a key beside it would only name.
pub(super) fn prove(
    config: &Identity,
    headers: &Headers,
    withheld: &mut Vec<String>,
    host: &mut dyn Host,
) -> Option<Outcome> {
    let by_key = by_key(config, headers, withheld);
    match &config.signatures {
        Some(signatures) if signature::is_shown(headers) => {
            withheld.extend(signature::HEADERS.map(str::to_owned));
            Some(match by_signature(signatures, headers, host) {
                Ok(signed) => Outcome::NeedsBody(signed.tenant, signed.body),
                Err(fault) => Outcome::Refused(fault.denial(config)),
            })
        }
        _ => by_key,
    }
}

fn by_key(config: &Identity, headers: &Headers, withheld: &mut Vec<String>) -> Option<Outcome> {
    let keys = config.keys.as_ref()?;
    let denied = |code, message| Outcome::Refused(Denial::unauthorized(config, code, message));
    match keys::shown(keys, headers) {
        Shown::Nothing => None,
        Shown::Several => Some(denied(
            "ambiguous_credentials",
            "The request shows more than one API key; send one.",
        )),
        Shown::Key(key, header) => {
            let tenant = keys::tenant(keys, key);
            if tenant.is_none() && header == "authorization" && config.takes_bearers() {
                // It is a token, then.
                return None;
            }
            if !keys.forward {
                withheld.push(header.to_owned());
            }
            Some(match tenant {
                Some(tenant) => Outcome::Tenant(tenant.to_owned()),
                None => denied("invalid_api_key", "The API key is not known here."),
            })
        }
    }
}

/// A signature that holds, and whose nonce has not been there. Only those take a slot: strangers fill no table.
///
/// A nonce is spent when the headers have come. Spent with the body, it would have to be remembered for as long
/// as a sender may take over one.
fn by_signature(
    config: &Signatures,
    headers: &Headers,
    host: &mut dyn Host,
) -> Result<Signed, Fault> {
    // Without a wall clock no date can be told from another.
    let now = host.wall().ok_or(Fault::Full)?;
    let signed = signature::verify(config, headers, now)?;
    let tables = tables(config);
    let table = signed.mark.checked_rem(tables).unwrap_or_default();
    let mut fault = Fault::Full;
    update(
        host,
        &table_key(tables, &signed.key, table),
        |_, bytes| match nonces::remember(bytes, signed.mark, signed.until, now) {
            Ok(bytes) => Some((bytes, ())),
            Err(refused) => {
                fault = refused;
                None
            }
        },
    )
    .map(|()| signed)
    .ok_or(fault)
}

/// Makes the tables of nonces, where signatures are checked.
pub(super) fn prepare<S: Store + ?Sized>(config: &Identity, store: &mut S) {
    if let Some(config) = &config.signatures {
        let tables = tables(config);
        for key in &config.keys {
            (0..tables)
                .for_each(|table| store.create(&table_key(tables, &key.id, table), &nonces::EMPTY));
        }
    }
}

/// No key's part of the nonces is larger than one of so many.
const LEAST_PARTS: usize = 16;

/// How many tables each key has, so that whoever signs much fills nobody else's: a part of what was asked for. Parts are cut
/// for more keys than there may be now, as with their size all that is remembered goes: a key that is added or removed
/// must not let every signed request of the last minutes pass once more.
fn tables(config: &Signatures) -> u64 {
    let parts = config.keys.len().next_power_of_two().max(LEAST_PARTS);
    config.nonces.div_ceil(parts).div_ceil(nonces::SLOTS) as u64
}

/// Tables of another number hold other nonces each, so their number is a part of the name.
fn table_key(tables: u64, key: &str, table: u64) -> String {
    format!("junheng/nonces/{tables}/{key}/{table}")
}
