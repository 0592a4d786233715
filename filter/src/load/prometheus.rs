//! Reading an endpoint's metrics page: Prometheus' text format 0.0.4, and OpenMetrics so far as they agree.
//!
//! A page may have a megabyte, of which we want a few lines; the leader reads one for each endpoint while
//! requests wait. So nothing is parsed but the lines of the few names in the table of [`super`]: of all others
//! the name is looked at and the end sought, sixteen bytes at a time. Raw line ends do not occur in labels
//! (they are written `\n`), so the next one is always the line's.
//!
//! In V8 (Node 20) on a 2.6 GHz EPYC a page of 1 MB as vLLM writes them takes 0.42 ms, and 4 to 6 ms the first
//! time, before V8 has optimised the code; nothing but line ends, the worst there is, takes 3 ms.
//!
//! Types and help are not read: what a name means is in the table. A line without its end is not read
//! either, since a page cut short may have cut the number: 12 of 120.
//!
//! Formats: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use super::names::{is_labelled, labelled, quantity};
use super::report::{Report, Tally};

/// What the page `exposition` says of its endpoint's load; whatever in it is not the format's is passed over.
///
/// Of several series of a name (one for each GPU, model, rank) the greatest share counts, and queues are
/// added up. NaN, infinities and what is below 0 count as not said.
pub fn read(exposition: &[u8]) -> Report {
    let mut tally = Tally::default();
    let mut rest = exposition;
    while let Some((line, after)) = split_line(rest) {
        sample(line, &mut tally);
        rest = after;
    }
    tally.report()
}

/// The longest name looked for is shorter.
const LONGEST: usize = 40;

fn sample(line: &[u8], tally: &mut Tally) {
    let Some((name, rest)) = split_name(line) else {
        return;
    };
    let known = quantity(name);
    // Most lines end here, before a look at their labels.
    if known.is_none() && !is_labelled(name) {
        return;
    }
    let Some((labels, rest)) = split_labels(rest) else {
        return;
    };
    let has = |wanted: &[u8]| labels.windows(wanted.len()).any(|label| label == wanted);
    if let Some(quantity) = known.or_else(|| labelled(name, has))
        && let Some(value) = value(rest)
    {
        tally.add(quantity, value);
    }
}

/// The name that a line begins with if it can be one of ours, and what follows it.
#[inline]
fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if !matches!(
        line.first()?,
        b'v' | b's' | b'l' | b't' | b'n' | b'D' | b'g' | b'k'
    ) {
        return None;
    }
    let head = line.get(..LONGEST).unwrap_or(line);
    let end = head
        .iter()
        .position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    line.split_at_checked(end)
}

/// The labels with their braces, nothing where there are none, and what follows them; `None` if they do not end.
fn split_labels(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if rest.trim_ascii_start().first() != Some(&b'{') {
        return Some((&[], rest));
    }
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.iter().position(|byte| {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'"' if plain => quoted = !quoted,
            b'\\' if plain && quoted => escaped = true,
            _ => {}
        }
        *byte == b'}' && !quoted
    })?;
    rest.split_at_checked(end.saturating_add(1))
}

/// The number behind name and labels; a timestamp or an exemplar may follow.
fn value(rest: &[u8]) -> Option<f64> {
    let rest = rest.trim_ascii();
    let end = rest.iter().position(u8::is_ascii_whitespace);
    let token = rest.get(..end.unwrap_or(rest.len()))?;
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// The first line and what follows its end; `None` where there is no end.
#[inline]
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (chunks, _) = text.as_chunks::<16>();
    let passed = chunks
        .iter()
        .take_while(|chunk| !chunk.iter().fold(false, |any, byte| any | (*byte == b'\n')))
        .count();
    let from = passed.saturating_mul(16);
    let within = text.get(from..)?.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = text.split_at_checked(from.saturating_add(within))?;
    Some((line, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Share;
    use proptest::prelude::*;

    fn points(share: Option<Share>) -> Option<u16> {
        share.map(Share::basis_points)
    }

    #[test]
    fn the_names_of_every_server_are_read() {
        let vllm = "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
            # TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 5.0\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 2.0\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 2.0\n\
            vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.734\n";
        let sglang = "sglang:num_running_reqs{model_name=\"m\"} 162.0\n\
            sglang:token_usage{model_name=\"m\"} 0.28\nsglang:num_queue_reqs{model_name=\"m\"} 2826.0\n";
        let llama = "llamacpp:kv_cache_usage_ratio 0.5\nllamacpp:requests_processing 4\n\
            llamacpp:requests_deferred 46\nllamacpp:n_busy_slots_per_decode 3.87\n";
        let tgi = "tgi_batch_current_size 4\ntgi_queue_size 3\n";
        let triton = "nv_gpu_utilization{gpu_uuid=\"GPU-a\"} 0.31\n\
            nv_inference_pending_request_count{model=\"a\",version=\"1\"} 3\n\
            nv_inference_pending_request_count{model=\"b\",version=\"1\"} 11\n\
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"used\",model=\"a\"} 64\n\
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\",model=\"a\"} 0.5\n\
            nv_trt_llm_request_metrics{model=\"a\",request_type=\"waiting\",version=\"1\"} 6\n\
            nv_trt_llm_request_metrics{model=\"a\",request_type=\"scheduled\",version=\"1\"} 7\n\
            nv_trt_llm_request_metrics{model=\"a\",request_type=\"active\",version=\"1\"} 99\n";
        let trtllm = "trtllm_kv_cache_utilization{model_name=\"m\"} 0.62\n\
            trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\n";
        let dcgm = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-a\"} 1\n\
            DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",UUID=\"GPU-b\"} 95\n";
        let table = [
            (vllm, None, Some(7_340), Some(2), Some(5)),
            (sglang, None, Some(2_800), Some(2826), Some(162)),
            (llama, None, Some(5_000), Some(46), Some(4)),
            (tgi, None, None, Some(3), Some(4)),
            (triton, Some(3_100), Some(5_000), Some(20), Some(7)),
            (trtllm, None, Some(6_200), Some(1), Some(2)),
            (dcgm, Some(9_500), None, None, None),
        ];
        for (page, gpu, kv_cache, waiting, running) in table {
            let report = read(page.as_bytes());
            assert_eq!(points(report.gpu), gpu, "{page}");
            assert_eq!(points(report.kv_cache), kv_cache, "{page}");
            assert_eq!(report.waiting, waiting, "{page}");
            assert_eq!(report.running, running, "{page}");
        }
    }

    #[test]
    fn the_busiest_gpu_counts_and_queues_are_added_up() {
        let page = "DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\"} 0.25\n\
            DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 100\n\
            DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"1\"} 0.5\n\
            vllm:kv_cache_usage_perc{engine=\"0\"} 0.9\n\
            vllm:kv_cache_usage_perc{engine=\"1\"} 0.1\n\
            vllm:num_requests_waiting{engine=\"0\"} 3\n\
            vllm:num_requests_waiting{engine=\"1\"} 4\n";
        let report = read(page.as_bytes());
        assert_eq!(points(report.gpu), Some(5_000));
        assert_eq!(points(report.kv_cache), Some(9_000));
        assert_eq!(report.waiting, Some(7));
    }

    #[test]
    fn labels_may_hold_whatever_they_like() {
        for line in [
            r#"tgi_queue_size{model="a\"} 9 {b"} 3"#,
            r#"tgi_queue_size{model="\\"} 3"#,
            r#"tgi_queue_size{model="a,b=\"c\"",x="}{"} 3"#,
            r#"tgi_queue_size{model="模型 # x"} 3"#,
            r#"tgi_queue_size { a = "b" , } 3"#,
            "tgi_queue_size{}3",
            "tgi_queue_size\t3",
            "tgi_queue_size  3  ",
            "tgi_queue_size 3\r",
            "tgi_queue_size 3 1395066363000",
            "tgi_queue_size{a=\"b\"} 3.0 1520879607.789 # {trace_id=\"9\"} 7.0 1.0",
            "tgi_queue_size +3e0",
        ] {
            let page = format!("tgi_queue_size_bucket 8\n{line}\n# EOF\n");
            assert_eq!(read(page.as_bytes()).waiting, Some(3), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_sample_of_a_known_name_says_nothing() {
        for line in [
            "",
            "tgi_queue_size",
            "tgi_queue_size ",
            "tgi_queue_size{",
            r#"tgi_queue_size{a="b} 3"#,
            r#"tgi_queue_size{a="b\"} 3"#,
            "tgi_queue_size{} ",
            "tgi_queue_size x",
            "tgi_queue_size NaN",
            "tgi_queue_size +Inf",
            "tgi_queue_size -1",
            "tgi_queue_size_total 3",
            "xtgi_queue_size 3",
            "# tgi_queue_size 3",
            "tgi_queue_size \u{663}",
        ] {
            let page = format!("{line}\n");
            assert_eq!(read(page.as_bytes()), Report::default(), "{line}");
        }
        assert_eq!(read(b"tgi_queue_size \xff\n"), Report::default());
        assert_eq!(read(b""), Report::default());
    }

    #[test]
    fn a_line_without_its_end_may_be_half_a_number() {
        assert_eq!(
            read(b"tgi_queue_size 3\ntgi_batch_current_size 12").running,
            None
        );
        assert_eq!(
            read(b"tgi_queue_size 3\ntgi_batch_current_size 12\n").running,
            Some(12)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(page in prop::collection::vec(any::<u8>(), 0..400)) {
            read(&page);
        }

        #[test]
        fn a_line_is_found_wherever_it_stands(
            before in prop::collection::vec("[ -~]{0,60}", 0..5), after in "[ -~\n]{0,80}"
        ) {
            let before: String = before.iter().map(|line| format!("# {line}\n")).collect();
            let page = format!("{before}tgi_batch_current_size{{a=\"{{\"}} 12\n# {after}");
            prop_assert_eq!(read(page.as_bytes()).running, Some(12));
        }

        #[test]
        fn a_page_may_be_cut_anywhere(cut in 0usize..120) {
            let page = "vllm:kv_cache_usage_perc{m=\"a\\\"\"} 0.5\nvllm:num_requests_waiting{m=\"b\"} 125\n";
            let report = read(page.as_bytes().get(..cut).unwrap_or(page.as_bytes()));
            prop_assert!(matches!(points(report.kv_cache), None | Some(5_000)));
            prop_assert!(matches!(report.waiting, None | Some(125)));
        }
    }
}
