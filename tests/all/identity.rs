//! Who may call: addresses, API keys, signatures, and what another filter has verified.

mod closed;
mod signatures;
mod signed;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::on_both;
use crate::scenario::{On, Proxy, Sent, Step, post, proxy};

const SOURCE: [&str; 2] = ["source", "address"];

/// A pool for each of two tenants and one for the rest, and who may call.
fn config(identity: Value) -> Value {
    let pool = |name: &str, port: u16| json!({"name": name, "endpoints": [{"address": format!("10.0.0.1:{port}")}]});
    json!({
        "pools": [pool("acme", 1), pool("globex", 2), pool("rest", 3)],
        "routes": [
            {"match": {"tenants": ["acme"]}, "pools": ["acme"]},
            {"match": {"tenants": ["globex"]}, "pools": ["globex"]},
            {"pools": ["rest"]}
        ],
        "identity": identity
    })
}

/// The same where nobody has a tenant.
fn tenantless(identity: Value) -> Value {
    let endpoints = json!([{"address": "10.0.0.1:3"}]);
    json!({
        "pools": [{"name": "rest", "endpoints": endpoints}],
        "routes": [{"pools": ["rest"]}],
        "identity": identity
    })
}

/// What becomes of a GET with more headers: the pool, or the code of the refusal.
fn outcome(proxy: &mut dyn Proxy, more: &[(&str, &str)]) -> String {
    let mut headers = vec![
        (":method", "GET"),
        (":path", "/v1/models"),
        (":authority", "test"),
    ];
    headers.extend(more);
    match proxy.open(0, &headers, true).1 {
        Step::Forwarded(sent) => sent.pool().to_owned(),
        Step::Refused(refused) => format!("{} {}", refused.status, refused.error("code")),
        Step::Held => "held".to_owned(),
    }
}

const NOT_ALLOWED: &str = "403 address_not_allowed";

fn addresses_are_let_in_or_not_however_they_are_written(on: On) {
    let lists = json!({"allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.1.0.0/16", "::ffff:10.2.0.0/112"]});
    let mut proxy = proxy(on, &tenantless(json!({"addresses": lists})), 1);
    assert_eq!(
        outcome(&mut *proxy, &[]),
        NOT_ALLOWED,
        "nobody tells from where"
    );
    for (address, told) in [
        ("10.9.0.1:40000", "rest"),
        ("10.1.0.1:40000", NOT_ALLOWED),
        ("10.2.0.1:40000", NOT_ALLOWED),
        ("11.0.0.1:40000", NOT_ALLOWED),
        ("[2001:db8::1]:40000", "rest"),
        ("[2001:db9::1]:40000", NOT_ALLOWED),
        ("[::ffff:10.9.0.1]:40000", "rest"),
        ("[::ffff:10.1.0.1]:40000", NOT_ALLOWED),
        ("10.9.0.1:0", "rest"),
        ("/run/client.sock", NOT_ALLOWED),
    ] {
        proxy.set_property(&SOURCE, address.as_bytes());
        assert_eq!(outcome(&mut *proxy, &[]), told, "{address}");
    }
    // What a client writes itself counts for nothing.
    assert_eq!(
        outcome(&mut *proxy, &[("x-forwarded-for", "10.9.0.1")]),
        NOT_ALLOWED
    );
}

fn the_address_is_the_one_that_trusted_proxies_vouch_for(on: On) {
    let one = [("x-forwarded-for", "203.0.113.9, 203.0.113.1, 192.0.2.5")];
    let split = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.1,192.0.2.5"),
    ];
    let short = [("x-forwarded-for", "203.0.113.1")];
    let broken = [("x-forwarded-for", "unknown, unknown, 192.0.2.5")];
    for (hops, headers, address) in [
        (0, &one[..], "192.0.2.77"),
        (1, &one[..], "203.0.113.1"),
        (2, &one[..], "203.0.113.9"),
        (3, &one[..], "192.0.2.77"),
        (1, &split[..], "203.0.113.1"),
        (2, &split[..], "203.0.113.9"),
        (1, &short[..], "192.0.2.77"),
        (1, &broken[..], "192.0.2.77"),
        (1, &[], "192.0.2.77"),
    ] {
        let identity = json!({"trusted_hops": hops, "addresses": {"allow": [address]}});
        let mut proxy = proxy(on, &tenantless(identity), 1);
        proxy.set_property(&SOURCE, b"192.0.2.77:40000");
        assert_eq!(
            outcome(&mut *proxy, headers),
            "rest",
            "{hops} hops, {headers:?}"
        );
    }
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keys() -> Value {
    json!({"tenants": [
        {"tenant": "acme", "sha256": [sha256("acme-1"), sha256("acme-2").to_uppercase()]},
        {"tenant": "globex", "sha256": [sha256("globex-1")]}
    ]})
}

fn a_key_shows_its_tenant_wherever_it_is_sent(on: On) {
    let mut proxy = proxy(on, &config(json!({"keys": keys()})), 1);
    for (header, value, told) in [
        ("authorization", "Bearer acme-1", "acme"),
        ("Authorization", "bearer acme-2", "acme"),
        ("x-api-key", "globex-1", "globex"),
        ("x-api-key", "globex-2", "401 invalid_api_key"),
        ("x-api-key", "", "401 invalid_api_key"),
        ("x-api-key", "Bearer acme-1", "401 invalid_api_key"),
        ("x-api-key", &sha256("acme-1"), "401 invalid_api_key"),
        ("authorization", "Bearer", "401 invalid_api_key"),
        ("authorization", "Basic acme-1", "401 missing_credentials"),
        ("x-key", "acme-1", "401 missing_credentials"),
    ] {
        assert_eq!(
            outcome(&mut *proxy, &[(header, value)]),
            told,
            "{header}: {value}"
        );
    }
    let both = [
        ("authorization", "Bearer acme-1"),
        ("x-api-key", "globex-1"),
    ];
    assert_eq!(outcome(&mut *proxy, &both), "401 ambiguous_credentials");
}

/// A wrong key is no anonymous caller's, and no header beats a right one.
fn a_key_beats_the_tenant_header(on: On) {
    let identity = json!({"keys": keys(), "anonymous": "allow", "tenant_header": "x-tenant"});
    let mut proxy = proxy(on, &config(identity), 1);
    for (headers, told) in [
        (&[][..], "rest"),
        (&[("x-tenant", "globex")], "globex"),
        (&[("x-tenant", "globex"), ("x-api-key", "acme-1")], "acme"),
        (
            &[("x-tenant", "globex"), ("x-api-key", "no")],
            "401 invalid_api_key",
        ),
    ] {
        assert_eq!(outcome(&mut *proxy, headers), told, "{headers:?}");
    }
}

fn a_tenants_name_that_is_not_believed_goes_nowhere(on: On) {
    let identity = json!({"keys": keys(), "anonymous": "allow", "tenant_header": "x-tenant"});
    let proxy = &mut *proxy(on, &config(identity), 1);
    for (shown, believed) in [
        (&[("x-tenant", "globex")][..], true),
        (&[("x-tenant", "globex"), ("x-api-key", "acme-1")], false),
        (&[("x-tenant", "globex"), ("x-tenant", "acme")], false),
    ] {
        let mut headers = post("/v1/chat/completions");
        headers.extend_from_slice(shown);
        let (stream, _) = proxy.open(0, &headers, false);
        let body = br#"{"model":"m","messages":[]}"#;
        let sent = proxy.body(stream, body, true).sent();
        let names = sent.headers.iter().filter(|(name, _)| name == "x-tenant");
        assert_eq!(names.count(), usize::from(believed), "{shown:?}");
    }
}

fn a_key_goes_upstream_only_where_it_shall(on: On) {
    let sent = |keys: Value, key: (&str, &str)| -> Sent {
        let mut proxy = proxy(on, &config(json!({"keys": keys})), 1);
        let mut headers = post("/v1/chat/completions");
        headers.extend([key, ("x-other", "1")]);
        let (stream, _) = proxy.open(0, &headers, false);
        let body = br#"{"model":"m","messages":[]}"#;
        proxy.body(stream, body, true).sent()
    };
    let has = |sent: &Sent, name: &str| sent.headers.iter().any(|(known, _)| known == name);
    for (key, name) in [
        (("authorization", "Bearer acme-1"), "authorization"),
        (("x-api-key", "acme-1"), "x-api-key"),
    ] {
        let sent = sent(keys(), key);
        assert!(!has(&sent, name), "{sent:?}");
        assert_eq!((sent.header("x-other"), sent.pool()), ("1", "acme"));
    }
    let mut forwarded = keys();
    forwarded["forward"] = json!(true);
    forwarded["header"] = json!("X-Gateway-Key");
    let sent = sent(forwarded, ("x-gateway-key", "globex-1"));
    assert_eq!(
        (sent.header("x-gateway-key"), sent.pool()),
        ("globex-1", "globex")
    );
}

fn a_refusal_says_what_is_asked_for(on: On) {
    let refused = |keys: Value| {
        let mut proxy = proxy(on, &config(json!({"keys": keys})), 1);
        proxy
            .open(0, &post("/v1/chat/completions"), false)
            .1
            .refused()
    };
    let told = refused(keys());
    assert_eq!(told.status, 401);
    assert_eq!(told.error("type"), "invalid_request_error");
    assert_eq!(told.challenge.as_deref(), Some("Bearer realm=\"junheng\""));
    let mut named = keys();
    named["header"] = json!("X-Gateway-Key");
    let challenge = "ApiKey realm=\"junheng\", header=\"x-gateway-key\"";
    assert_eq!(refused(named).challenge.as_deref(), Some(challenge));
}

/// Envoy's own filter in front has verified a token; its claim is the tenant.
fn the_claim_that_envoy_has_verified_names_the_tenant(on: On) {
    let claim = [
        "metadata",
        "filter_metadata",
        "envoy.filters.http.jwt_authn",
        "payload",
        "org",
    ];
    let identity = json!({"jwt_authn": {"payload": "payload", "claim": "org"}});
    let mut strict = proxy(on, &config(identity), 1);
    let refused = strict
        .open(0, &post("/v1/chat/completions"), false)
        .1
        .refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (401, "missing_credentials")
    );
    assert_eq!(
        refused.challenge.as_deref(),
        Some("Bearer realm=\"junheng\"")
    );
    strict.set_property(&claim, b"acme");
    assert_eq!(outcome(&mut *strict, &[]), "acme");
    // Not text, or a number, which is told as eight bytes.
    for unfit in [&b""[..], b"\xff", &2f64.to_le_bytes()] {
        strict.set_property(&claim, unfit);
        assert_eq!(outcome(&mut *strict, &[]), "401 missing_credentials");
    }

    let identity = json!({
        "jwt_authn": {"payload": "payload", "claim": "org"},
        "anonymous": "allow",
        "tenant_header": "x-tenant"
    });
    let mut lenient = proxy(on, &config(identity), 1);
    assert_eq!(outcome(&mut *lenient, &[]), "rest");
    assert_eq!(outcome(&mut *lenient, &[("x-tenant", "globex")]), "globex");
    lenient.set_property(&claim, b"acme");
    assert_eq!(outcome(&mut *lenient, &[("x-tenant", "globex")]), "acme");
}

on_both! {
    addresses_are_let_in_or_not_however_they_are_written
    the_address_is_the_one_that_trusted_proxies_vouch_for
    a_key_shows_its_tenant_wherever_it_is_sent
    a_key_beats_the_tenant_header
    a_tenants_name_that_is_not_believed_goes_nowhere
    a_key_goes_upstream_only_where_it_shall
    a_refusal_says_what_is_asked_for
    the_claim_that_envoy_has_verified_names_the_tenant
}
