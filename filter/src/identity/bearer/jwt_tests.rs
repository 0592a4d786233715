//! A token is refused for each rule that it breaks, and for that rule.

use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

use super::*;
use crate::config::{Service, SignatureAlgorithm};

const NOW: UnixTime = UnixTime(1_000_000);

fn issuer(name: &str) -> Issuer {
    Issuer {
        name: name.into(),
        audiences: vec!["api".into(), "api2".into()],
        algorithms: vec![SignatureAlgorithm::EdDsa],
        keys: Service {
            cluster: "c".into(),
            authority: "a".into(),
            path: "/".into(),
            timeout: Default::default(),
        },
        refresh: Default::default(),
        tenant_claim: "org".into(),
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn url(bytes: &[u8]) -> String {
    let padded = crate::values::base64::encode(bytes);
    padded
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

fn signed(header: &str, claims: &str, key: &SigningKey) -> String {
    let signed = format!("{}.{}", url(header.as_bytes()), url(claims.as_bytes()));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", url(&signature.to_bytes()))
}

fn keys() -> KeySet {
    let jwk = |seed: u8, kid: &str| {
        let x = url(key(seed).verifying_key().as_bytes());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    };
    let set = format!(
        r#"{{"keys":[{},{},{{"kty":"oct","k":"AAAA"}}]}}"#,
        jwk(1, "one"),
        jwk(2, "two")
    );
    KeySet::parse(set.as_bytes()).expect("a key set")
}

fn read(header: &str, claims: &str) -> Result<String, Fault> {
    let issuers = [issuer("other"), issuer("i")];
    let token = signed(header, claims, &key(1));
    let jwt = Jwt::read(&token, &issuers, NOW)?;
    jwt.verify(&keys())?;
    assert_eq!(jwt.issuer, 1);
    Ok(jwt.tenant)
}

const GOOD: &str = r#"{"alg":"EdDSA","kid":"one"}"#;

#[test]
fn a_good_token_tells_its_tenant() {
    for header in [
        GOOD,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"Ed25519","kid":"one","typ":"at+jwt","jku":"https://evil.example"}"#,
    ] {
        for claims in [
            r#"{"iss":"i","aud":"api","exp":1000001,"org":"acme"}"#,
            r#"{"iss":"i","aud":["x","api2"],"exp":1000001.5,"nbf":1000060,"org":"acme","x":[{}]}"#,
            r#"{"iss":"i","aud":"api","exp":999941,"nbf":null,"org":"acme"}"#,
        ] {
            assert_eq!(
                read(header, claims).as_deref(),
                Ok("acme"),
                "{header} {claims}"
            );
        }
    }
}

#[test]
fn each_broken_rule_is_named() {
    let good = r#"{"iss":"i","aud":"api","exp":1000001,"org":"acme"}"#;
    for (header, claims, fault) in [
        (r#"{"alg":"none"}"#, good, Fault::Algorithm),
        (r#"{"alg":"HS256","kid":"one"}"#, good, Fault::Algorithm),
        (r#"{"alg":"RS256","kid":"one"}"#, good, Fault::Algorithm),
        (r#"{"alg":"eddsa","kid":"one"}"#, good, Fault::Algorithm),
        (r#"{"kid":"one"}"#, good, Fault::Algorithm),
        (r#"{"alg":"EdDSA","alg":"EdDSA"}"#, good, Fault::Malformed),
        (r#"{"alg":7}"#, good, Fault::Malformed),
        (r#"{"alg":"EdDSA","kid":7}"#, good, Fault::Malformed),
        (r#"["EdDSA"]"#, good, Fault::Malformed),
        (
            r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#,
            good,
            Fault::Critical,
        ),
        (r#"{"alg":"EdDSA","kid":"three"}"#, good, Fault::UnknownKey),
        (r#"{"alg":"EdDSA","kid":"two"}"#, good, Fault::Signature),
        (
            GOOD,
            r#"{"iss":"j","aud":"api","exp":1000001,"org":"acme"}"#,
            Fault::Issuer,
        ),
        (
            GOOD,
            r#"{"iss":"I","aud":"api","exp":1000001,"org":"acme"}"#,
            Fault::Issuer,
        ),
        (
            GOOD,
            r#"{"iss":["i"],"aud":"api","exp":1000001,"org":"acme"}"#,
            Fault::Malformed,
        ),
        (
            GOOD,
            r#"{"aud":"api","exp":1000001,"org":"acme"}"#,
            Fault::Issuer,
        ),
        (
            GOOD,
            r#"{"iss":"i","exp":1000001,"org":"acme"}"#,
            Fault::Audience,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"other","exp":1000001,"org":"acme"}"#,
            Fault::Audience,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":[],"exp":1000001,"org":"acme"}"#,
            Fault::Audience,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":["api",1],"exp":1000001,"org":"acme"}"#,
            Fault::Malformed,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","org":"acme"}"#,
            Fault::Endless,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":"1000001","org":"acme"}"#,
            Fault::Malformed,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":999940,"org":"acme"}"#,
            Fault::Expired,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":-1,"org":"acme"}"#,
            Fault::Expired,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001,"nbf":1000061,"org":"acme"}"#,
            Fault::TooEarly,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001}"#,
            Fault::Tenant,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001,"org":""}"#,
            Fault::Tenant,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001,"org":7}"#,
            Fault::Tenant,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001,"org":"a\nb"}"#,
            Fault::Tenant,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001,"org":"a","org":"b"}"#,
            Fault::Malformed,
        ),
        (
            GOOD,
            r#"{"iss":"i","aud":"api","exp":1000001,"org":"a"} "x""#,
            Fault::Malformed,
        ),
    ] {
        assert_eq!(read(header, claims), Err(fault), "{header} {claims}");
    }
}

#[test]
fn only_the_compact_form_of_three_parts_is_read() {
    let issuers = [issuer("i")];
    let token = signed(
        GOOD,
        r#"{"iss":"i","aud":"api","exp":1000001,"org":"acme"}"#,
        &key(1),
    );
    let jwt = |token: &str| Jwt::read(token, &issuers, NOW).and_then(|jwt| jwt.verify(&keys()));
    assert_eq!(jwt(&token), Ok(()));
    let (start, signature) = token.rsplit_once('.').expect("three parts");
    for broken in [
        String::new(),
        start.to_owned(),
        format!("{token}."),
        format!("{token}=="),
        format!("{start}.{signature}.{signature}"),
        format!("{start}.{}+", &signature[..85]),
        token.replacen('.', "..", 1),
    ] {
        assert!(jwt(&broken).is_err(), "{broken}");
    }
    assert_eq!(jwt(&format!("{start}.")), Err(Fault::Signature));
}

proptest! {
    #[test]
    fn a_token_with_any_bit_changed_is_refused(at in 0usize..10_000, bit in 0u8..7) {
        let issuers = [issuer("i")];
        let token = signed(GOOD, r#"{"iss":"i","aud":"api","exp":1000001,"org":"acme"}"#, &key(1));
        let mut bytes = token.into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let token = String::from_utf8(bytes).expect("ASCII");
        let passed = Jwt::read(&token, &issuers, NOW).and_then(|jwt| jwt.verify(&keys()));
        prop_assert!(passed.is_err());
    }

    #[test]
    fn nothing_that_is_sent_can_trap(token in "[eyJ.\\-_a-z0-9]{0,80}", set in "[\\[\\]{}\":,a-z0-9]{0,60}") {
        let _ = Jwt::read(&token, &[issuer("i")], NOW);
        let _ = KeySet::parse(set.as_bytes());
    }
}
