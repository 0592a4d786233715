//! The vectors of RFC 7515, appendices A.2 and A.3, and of RFC 8037, appendix A.4.

use super::super::jwks::KeySet;
use crate::config::SignatureAlgorithm;
use crate::identity::bearer::base64url::decode;

const RSA: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-\
         Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-\
         pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-\
         UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-\
         DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn vectors() -> [(SignatureAlgorithm, String, String, &'static str); 3] {
    [
        (
            SignatureAlgorithm::Rs256,
            format!(r#"{{"kty":"RSA","n":"{RSA}","e":"AQAB"}}"#),
            format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-\
         0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--\
         f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHW\
         EsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypG\
         lUPQGe77Rw",
        ),
        (
            SignatureAlgorithm::Es256,
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{P256_X}","y":"{P256_Y}"}}"#),
            format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            SignatureAlgorithm::EdDsa,
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}"}}"#),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ]
}

fn verifies(algorithm: SignatureAlgorithm, jwk: &str, message: &[u8], signature: &[u8]) -> bool {
    let set = KeySet::parse(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).expect("a key set");
    set.candidates(algorithm, None)
        .any(|key| key.verifies(message, signature))
}

#[test]
fn the_rfcs_signatures_hold() {
    for (algorithm, jwk, message, signature) in vectors() {
        let signature = decode(signature.as_bytes()).expect("base64url");
        assert!(
            verifies(algorithm, &jwk, message.as_bytes(), &signature),
            "{algorithm:?}"
        );
    }
}

#[test]
fn neither_a_changed_message_nor_a_changed_or_padded_signature_holds() {
    for (algorithm, jwk, message, signature) in vectors() {
        let signature = decode(signature.as_bytes()).expect("base64url");
        let holds =
            |message: &[u8], signature: &[u8]| verifies(algorithm, &jwk, message, signature);
        assert!(!holds(&message.as_bytes()[1..], &signature));
        for byte in 0..signature.len() {
            let mut changed = signature.clone();
            changed[byte] ^= 1;
            assert!(
                !holds(message.as_bytes(), &changed),
                "{algorithm:?}, byte {byte}"
            );
        }
        assert!(!holds(message.as_bytes(), &[]));
        assert!(!holds(message.as_bytes(), &signature[1..]));
        assert!(!holds(message.as_bytes(), &[&[0], &signature[..]].concat()));
        assert!(!holds(message.as_bytes(), &[&signature[..], &[0]].concat()));
        assert!(!holds(message.as_bytes(), &vec![0; signature.len()]));
        assert!(!holds(message.as_bytes(), &vec![0xff; signature.len()]));
    }
}

#[test]
fn a_key_is_for_its_own_algorithm_only() {
    for (algorithm, jwk, message, signature) in vectors() {
        let signature = decode(signature.as_bytes()).expect("base64url");
        for (other, ..) in vectors().iter().filter(|(other, ..)| *other != algorithm) {
            assert!(!verifies(*other, &jwk, message.as_bytes(), &signature));
        }
    }
}

#[test]
fn keys_that_are_weak_or_for_something_else_are_left_out() {
    let small = &RSA[..171];
    let even = format!("{}g", &RSA[..RSA.len() - 1]);
    let n = RSA;
    for jwk in [
        format!(r#"{{"kty":"RSA","n":"{small}","e":"AQAB"}}"#),
        format!(r#"{{"kty":"RSA","n":"{even}","e":"AQAB"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQ"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAC"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAAAAE"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","use":"enc"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","key_ops":["sign"]}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS512"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{P256_X}","y":"{P256_X}"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-384","x":"{P256_X}","y":"{P256_Y}"}}"#),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#
            .to_owned(),
        format!(r#"{{"kty":"OKP","crv":"X25519","x":"{ED25519_X}"}}"#),
        r#"{"kty":"oct","k":"AAAA"}"#.to_owned(),
        "7".to_owned(),
    ] {
        let set = KeySet::parse(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).expect("a key set");
        for (algorithm, ..) in vectors() {
            assert_eq!(set.candidates(algorithm, None).count(), 0, "{jwk}");
        }
    }
}

#[test]
fn what_is_no_key_set_or_too_large_is_refused() {
    let many = format!(r#"{{"keys":[{}7]}}"#, "7,".repeat(64));
    let padded = format!(
        r#"{{"keys":[]{}}}"#,
        " ".repeat(super::super::jwks::MOST_DOCUMENT_BYTES)
    );
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[],"keys":[]}"#,
        &many,
        &padded,
    ] {
        assert!(KeySet::parse(text.as_bytes()).is_none(), "{text:.40}");
    }
}
