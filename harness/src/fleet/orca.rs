//! The ORCA load report that rides on responses as the header `endpoint-load-metrics`.
//!
//! Format and field numbers: `xds/data/orca/v3/orca_load_report.proto` and Envoy's
//! `source/common/orca`. Three encodings are in use, and a balancer must read all of them.

use super::base64;

/// An encoding of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `TEXT name=value,…`
    Text,
    /// `JSON {…}`
    Json,
    /// `BIN <base64 of the protobuf>`
    Bin,
}

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// GPU utilisation, 0 to 1, as `application_utilization`.
    pub gpu: f64,
    /// KV cache usage, 0 to 1, as `mem_utilization` and vLLM's named metric.
    pub kv_cache: f64,
    /// Requests that wait for a slot.
    pub waiting: f64,
}

/// The header's value in `format`.
pub fn header(report: Report, format: Format) -> String {
    let Report {
        gpu,
        kv_cache,
        waiting,
    } = report;
    let named = [
        ("kv_cache_usage_perc", kv_cache),
        ("num_requests_waiting", waiting),
    ];
    match format {
        Format::Text => format!(
            "TEXT application_utilization={gpu},mem_utilization={kv_cache},\
             named_metrics.kv_cache_usage_perc={kv_cache},named_metrics.num_requests_waiting={waiting}"
        ),
        Format::Json => {
            let named: serde_json::Map<_, _> = named
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into_iter()
                .collect();
            let report = serde_json::json!({
                "application_utilization": gpu,
                "mem_utilization": kv_cache,
                "named_metrics": named,
            });
            format!("JSON {report}")
        }
        Format::Bin => {
            let mut message = Vec::new();
            double(&mut message, 2, kv_cache);
            for (name, value) in named {
                let mut entry = Vec::new();
                length_delimited(&mut entry, 1, name.as_bytes());
                double(&mut entry, 2, value);
                length_delimited(&mut message, 8, &entry);
            }
            double(&mut message, 9, gpu);
            format!("BIN {}", base64::encode(&message))
        }
    }
}

/// A protobuf field of wire type 1.
fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// A protobuf field of wire type 2; everything here is far shorter than the 128 bytes of one varint byte.
fn length_delimited(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    debug_assert!(bytes.len() < 128);
    out.push(field << 3 | 2);
    out.push(bytes.len() as u8);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_name_the_same_figures() {
        let report = Report {
            gpu: 0.5,
            kv_cache: 0.25,
            waiting: 3.0,
        };
        let text = header(report, Format::Text);
        assert!(
            text.starts_with("TEXT application_utilization=0.5,mem_utilization=0.25,"),
            "{text}"
        );
        let json = header(report, Format::Json);
        let json: serde_json::Value =
            serde_json::from_str(json.strip_prefix("JSON ").unwrap()).unwrap();
        assert_eq!(json["named_metrics"]["num_requests_waiting"], 3.0);
    }
}
