//! The three formats against Envoy's tests of its own reader, and against what servers send.

use super::*;
use crate::load::Share;
use proptest::prelude::*;

fn header(value: &str) -> Result<Report, Error> {
    read(Some(value.as_bytes()), None).unwrap()
}

fn points(share: Option<Share>) -> Option<u16> {
    share.map(Share::basis_points)
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8][..], value].concat()
}

fn named(map: u8, name: &str, value: f64) -> Vec<u8> {
    bytes(map, &[bytes(1, name.as_bytes()), double(2, value)].concat())
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let digit = |bits: &[u8]| (0..6).fold(0, |n, i| n << 1 | bits.get(i).unwrap_or(&0));
    bits.chunks(6)
        .map(|bits| char::from(DIGITS[usize::from(digit(bits))]))
        .collect()
}

#[test]
fn the_three_formats_say_the_same() {
    let text = "TEXT cpu_utilization=0.7,application_utilization=0.8,mem_utilization=0.9,\
                rps_fractional=1000,eps=2,named_metrics.kv_cache_usage_perc=0.25,\
                named_metrics.num_requests_waiting=3,utilization.total=0.5";
    let json = r#"JSON {"cpu_utilization": 0.7, "application_utilization": 0.8, "mem_utilization": 0.9,
                "rps_fractional": 1000, "eps": 2, "named_metrics": {"kv_cache_usage_perc": 0.25,
                "num_requests_waiting": 3}, "utilization": {"total": 0.5}}"#;
    let message = [
        double(1, 0.7),
        double(2, 0.9),
        vec![3 << 3, 0xe8, 7],
        named(5, "total", 0.5),
        double(6, 1000.0),
        double(7, 2.0),
        named(8, "kv_cache_usage_perc", 0.25),
        named(8, "num_requests_waiting", 3.0),
        double(9, 0.8),
    ]
    .concat();
    let base64 = encode(&message);
    let report = header(text).unwrap();
    assert_eq!(points(report.gpu), Some(8_000));
    assert_eq!(points(report.kv_cache), Some(2_500));
    assert_eq!(report.waiting, Some(3));
    assert_eq!(report.running, None);
    assert_eq!(header(json), Ok(report));
    assert_eq!(header(&text.replace('=', ":")), Ok(report));
    assert_eq!(header(&format!("BIN {base64}")), Ok(report));
    let other = Some(&b"TEXT application_utilization=0.1"[..]);
    assert_eq!(read(other, Some(base64.as_bytes())), Some(Ok(report)));
    assert_eq!(read(None, Some(base64.as_bytes())), Some(Ok(report)));
    assert_eq!(read(None, None), None);
}

#[test]
fn what_servers_send_is_read() {
    // vLLM's create_orca_header.
    let vllm =
        "TEXT named_metrics.kv_cache_usage_perc=1e-05, named_metrics.num_requests_waiting=7.0";
    assert_eq!(header(vllm).unwrap().waiting, Some(7));
    let vllm =
        r#"JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 7.0}}"#;
    assert_eq!(points(header(vllm).unwrap().kv_cache), Some(4_000));
    // Triton's OrcaKVMetricHeader.
    let triton =
        "TEXT named_metrics.kv_cache_utilization=0.250000, named_metrics.max_token_capacity=399360";
    assert_eq!(points(header(triton).unwrap().kv_cache), Some(2_500));
    // A grpc-go server, without padding and with.
    for value in [
        "CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA",
        "CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA==",
    ] {
        let report = read(None, Some(value.as_bytes())).unwrap();
        assert_eq!(
            report,
            Ok(Report::default()),
            "it tells nothing that we use"
        );
    }
}

#[test]
fn gpu_utilisation_has_several_names_and_units() {
    for (metrics, expected) in [
        ("utilization.gpu=0.95", 9_500),
        ("named_metrics.gpu=0.2", 2_000),
        ("named_metrics.gpu_utilization=95", 9_500),
        ("named_metrics.gpu_percent=1", 100),
        ("named_metrics.DCGM_FI_DEV_GPU_UTIL=95", 9_500),
        ("application_utilization=1.5", 10_000),
        ("application_utilization=0.9,utilization.gpu=0.3", 3_000),
        ("utilization.gpu=0.3,named_metrics.gpu_util=0.4", 4_000),
    ] {
        let report = header(&format!("TEXT {metrics}")).unwrap();
        assert_eq!(points(report.gpu), Some(expected), "{metrics}");
    }
    assert_eq!(header("TEXT cpu_utilization=0.9").unwrap().gpu, None);
}

#[test]
fn a_text_that_is_half_right_is_refused_whole() {
    let good = "application_utilization=0.5,";
    let behind = good.len();
    for (bad, error) in [
        ("gpu=0.5", Error::Name(behind)),
        ("rps=5", Error::Name(behind)),
        ("cpuUtilization=0.5", Error::Name(behind)),
        ("request_cost.a=1", Error::Name(behind)),
        ("named_metrics=1", Error::Name(behind)),
        ("named_metrics.=1", Error::Name(behind)),
        ("utilization.=1", Error::Name(behind)),
        ("=1", Error::Name(behind)),
        ("eps =1", Error::Name(behind)),
        ("eps", Error::Value(behind)),
        ("eps=", Error::Value(behind)),
        ("eps=x", Error::Value(behind)),
        ("eps=\"1\"", Error::Value(behind)),
        ("eps=1=2", Error::Value(behind)),
        ("eps=nan", Error::Value(behind)),
        ("eps=inf", Error::Value(behind)),
        ("eps=1e999", Error::Value(behind)),
        ("eps=-1", Error::Value(behind)),
        ("utilization.a=-1", Error::Value(behind)),
        ("eps=1,eps=1", Error::Duplicate(behind + 6)),
        ("application_utilization=0.5", Error::Duplicate(behind)),
        (
            "named_metrics.a=1, named_metrics.a=2",
            Error::Duplicate(behind + 18),
        ),
    ] {
        assert_eq!(header(&format!("TEXT {good}{bad}")), Err(error), "{bad}");
    }
    let same_in_two_maps = "TEXT utilization.a=1,named_metrics.a=1";
    assert!(header(same_in_two_maps).is_ok());
}

#[test]
fn white_space_around_pairs_and_empty_pairs_are_nothing() {
    let report = header("TEXT  , application_utilization= 0.5 ,,").unwrap();
    assert_eq!(points(report.gpu), Some(5_000));
    assert_eq!(header("TEXT "), Ok(Report::default()));
}

#[test]
fn a_value_of_no_format_is_refused() {
    for value in [
        "",
        "TEXT",
        "text eps=1",
        "eps=1",
        "TEXTeps=1",
        "JSON{}",
        "BIN",
        "XML <a/>",
    ] {
        assert_eq!(header(value), Err(Error::Format), "{value:?}");
    }
    assert_eq!(
        read(Some(b"\xff\xfe\xff\xfe\xff"), None),
        Some(Err(Error::Format))
    );
    assert_eq!(
        read(Some(b"TEXT eps=\xff"), None),
        Some(Err(Error::Value(0)))
    );
}

#[test]
fn a_long_value_is_refused_unread() {
    let mut long = String::from("TEXT eps=1");
    long.push_str(&" ".repeat(MAX_BYTES - long.len()));
    assert!(header(&long).is_ok());
    long.push(' ');
    assert_eq!(header(&long), Err(Error::TooLong(MAX_BYTES + 1)));
    let binary = read(None, Some(long.as_bytes()));
    assert_eq!(binary, Some(Err(Error::TooLong(MAX_BYTES + 1))));
}

#[test]
fn a_message_that_is_cut_or_wrong_is_refused() {
    let good = [named(8, "gpu", 0.5), double(9, 0.5)].concat();
    assert_eq!(points(message(&good).unwrap().gpu), Some(5_000));
    let field_end = named(8, "gpu", 0.5).len();
    for end in (1..good.len()).filter(|end| *end != field_end) {
        assert!(
            matches!(message(&good[..end]), Err(Error::Protobuf(_))),
            "{end} bytes"
        );
    }
    for (bad, error) in [
        (double(1, f64::NAN), Error::Value(0)),
        (double(7, f64::INFINITY), Error::Value(0)),
        (double(1, -0.5), Error::Value(0)),
        (named(8, "a", f64::NAN), Error::Value(0)),
        (
            [double(1, 0.5), double(1, 0.5)].concat(),
            Error::Duplicate(9),
        ),
        (
            [named(8, "a", 1.0), named(8, "a", 1.0)].concat(),
            Error::Duplicate(14),
        ),
        (bytes(8, &bytes(1, b"\xff")), Error::Protobuf(0)),
        (bytes(8, &[0x0a, 0x05, b'a']), Error::Protobuf(0)),
    ] {
        assert_eq!(message(&bad), Err(error), "{bad:x?}");
    }
    assert_eq!(header("BIN "), Err(Error::Base64(0)));
    assert_eq!(header("BIN not-base64"), Err(Error::Base64(3)));
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    let later = [double(10, f64::NAN), bytes(1, b"text"), double(9, 0.5)].concat();
    assert_eq!(points(message(&later).unwrap().gpu), Some(5_000));
}

proptest! {
    #[test]
    fn any_value_is_a_report_or_an_error(
        prefix in "(TEXT |JSON |BIN )?", value in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let value = [prefix.as_bytes(), &value].concat();
        let _ = read(Some(&value), None);
        let _ = read(None, Some(&value));
        let _ = message(&value);
    }

    #[test]
    fn a_value_with_one_byte_changed_is_a_report_or_an_error(
        which in 0usize..3, place in 0usize..200, byte in any::<u8>()
    ) {
        let message = [named(8, "gpu", 0.5), named(5, "x", 0.25), double(9, 0.5)].concat();
        let mut value = [
            "TEXT application_utilization=0.5,named_metrics.gpu=0.5,eps=1e3".to_owned(),
            r#"JSON {"eps":1e3,"named_metrics":{"gpu":0.5,"a\u00e9":"1"},"cpuUtilization":null}"#.to_owned(),
            format!("BIN {}", encode(&message)),
        ][which].clone().into_bytes();
        let place = place % value.len();
        value[place] = byte;
        let _ = read(Some(&value), None);
    }
}
