use super::*;
use proptest::prelude::*;

/// How streams open, with `\n` for line ends, and what is known once the events before `|` have
/// come. What stands behind it must change nothing.
const OPENINGS: &[(&str, Opening)] = &[
    // Answers.
    (
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n|data: {\"error\":{}}\n\n",
        Opening::Begun,
    ),
    ("data:{\"choices\":[{\"text\":\"a\"}]}\n\n|", Opening::Begun),
    (
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n|",
        Opening::Begun,
    ),
    (
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\"}]}}]}\n\n|",
        Opening::Begun,
    ),
    (
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n|",
        Opening::Begun,
    ),
    (
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\",\"error\":null}\n\n|",
        Opening::Begun,
    ),
    (
        "data: {\"content\":\"a\",\"stop\":false,\"error\":\"\"}\n\n|",
        Opening::Begun,
    ),
    ("data: [DONE]\n\n|data: {\"error\":{}}\n\n", Opening::Begun),
    ("data: {\"error\": {\"code\": 500}\n\n|", Opening::Begun),
    ("data: plain text\n\n|", Opening::Begun),
    ("data: 17\n\n|", Opening::Begun),
    // Data in several lines, and other fields between them.
    (
        "\u{feff}id: 7\ndata: {\"choices\":[{\"delta\":\ndata\n: x\nretry: 5\ndata: {\"content\":\"a\"}}]}\n\n|",
        Opening::Begun,
    ),
    // Preamble.
    (
        ": ping - 2025\n\n:\n\nevent: ping\n\ndata:\n\n\n\n",
        Opening::Waiting,
    ),
    (
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n\
      event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        Opening::Waiting,
    ),
    ("event: ping\ndata: {}\n\n", Opening::Waiting),
    (
        "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\ndata: {\"type\":\"response.queued\"}\n\n\
      data: {\"type\":\"response.in_progress\"}\n\ndata: {\"type\":\"response.output_item.added\"}\n\n\
      data: {\"type\":\"response.content_part.added\"}\n\n",
        Opening::Waiting,
    ),
    (
        "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n",
        Opening::Waiting,
    ),
    (
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        Opening::Waiting,
    ),
    (
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}}]}\n\n",
        Opening::Waiting,
    ),
    (
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"not comple",
        Opening::Waiting,
    ),
    ("", Opening::Waiting),
    // Errors of an endpoint.
    (
        "data: {\"error\":{\"message\":\"boom\"}}\n\n|data: [DONE]\n\n",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        ": ping\n\ndata: {\"error\":{\"object\":\"error\",\"type\":\"InternalServerError\",\"code\":500}}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\ndata: {\"error\":\"EngineDeadError\"}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}],\"error\":{\"code\":\"server_error\"}}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server error\"}}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "event: error\ndata: out of memory\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "event: error\ndata: {\"message\":\"boom\"}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"object\":\"error\",\"message\":\"boom\",\"code\":500}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "error: {\"code\":500,\"message\":\"boom\",\"type\":\"server_error\"}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"error\":\"boom\",\"error_type\":\"generation\"}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\"}}}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"type\":\"response.failed\",\"response\":{\"error\":null}}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    (
        "data: {\"error\":\ndata: {\"code\":500}}\n\n|",
        Opening::Failed(Fault::Endpoint),
    ),
    // Of one that has too much to do.
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n|",
        Opening::Failed(Fault::Overloaded),
    ),
    (
        "data: {\"error\":{\"code\":503}}\n\n|",
        Opening::Failed(Fault::Overloaded),
    ),
    (
        "data: {\"error\":{\"code\":\"529\"}}\n\n|",
        Opening::Failed(Fault::Overloaded),
    ),
    (
        "data: {\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}\n\n|",
        Opening::Failed(Fault::Overloaded),
    ),
    // Of a caller.
    (
        "data: {\"error\":{\"type\":\"BadRequestError\",\"code\":400}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"error\":{\"message\":\"boom\",\"status\":499}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"error\":{\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"permission_error\"}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"not_found_error\"}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"request_too_large\"}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"type\":\"error\",\"code\":\"invalid_prompt\",\"message\":\"boom\"}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"image_content_policy_violation\"}}}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "error: {\"code\":400,\"type\":\"invalid_request_error\"}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    (
        "data: {\"error\":\"too long\",\"error_type\":\"validation\"}\n\n|",
        Opening::Failed(Fault::Caller),
    ),
    // Of one that asked too often.
    (
        "data: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\n\n|",
        Opening::Failed(Fault::RateLimited),
    ),
    (
        "data: {\"error\":{\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}\n\n|",
        Opening::Failed(Fault::RateLimited),
    ),
    (
        "data: {\"error\":{\"type\":\"insufficient_quota\"}}\n\n|",
        Opening::Failed(Fault::RateLimited),
    ),
    (
        "data: {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}\n\n|",
        Opening::Failed(Fault::RateLimited),
    ),
];

/// What is known after `pieces`, and how many bytes that took.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Opening, usize) {
    let (mut reader, mut bytes) = (OpeningReader::default(), 0);
    for piece in pieces {
        bytes += piece.len();
        match reader.read(piece, false) {
            Opening::Waiting => {}
            opening => return (opening, bytes),
        }
    }
    (Opening::Waiting, bytes)
}

#[test]
fn the_first_event_with_data_decides() {
    for (stream, expected) in OPENINGS {
        for end in ["\n", "\r", "\r\n"] {
            let (deciding, _) = stream.split_once('|').unwrap_or((stream, ""));
            let deciding = deciding.replace('\n', end);
            let whole = stream.replace('|', "").replace('\n', end);
            assert_eq!(read([whole.as_bytes()]).0, *expected, "{whole:?}");
            // Not before its end, and at once then; of a CR and LF the CR ends it.
            let (opening, bytes) = read(whole.as_bytes().chunks(1));
            assert_eq!(opening, *expected, "{whole:?}");
            let after_the_end = opening != Opening::Waiting && end == "\r\n";
            let known_at = deciding.len() - usize::from(after_the_end);
            assert_eq!(bytes, known_at, "{whole:?}");
        }
    }
}

#[test]
fn a_stream_that_ends_has_begun_or_failed() {
    let at_end = |stream: &str| OpeningReader::default().read(stream.as_bytes(), true);
    assert_eq!(at_end(""), Opening::Begun);
    assert_eq!(at_end(": ping\n\n"), Opening::Begun);
    assert_eq!(at_end("data: {\"choices\":[]}\n\n"), Opening::Begun);
    assert_eq!(at_end("data: {\"choices\":[{\"te"), Opening::Begun);
    let failed = Opening::Failed(Fault::Endpoint);
    assert_eq!(at_end("data: {\"error\":{\"code\":500}}"), failed);
    assert_eq!(at_end(": ping\n\nerror: boom\n"), failed);
}

#[test]
fn an_event_that_is_too_large_to_read_counts_as_begun() {
    let event = |bytes: usize| format!("data: {{\"error\":\"{}\"}}\n\n", "x".repeat(bytes));
    let frame = event(0).len();
    let largest = event(EVENT_BYTES - frame);
    let larger = event(EVENT_BYTES - frame + 1);
    for size in [1, 1000, usize::MAX] {
        let opening = |event: &str| read(event.as_bytes().chunks(size.min(event.len()))).0;
        assert_eq!(opening(&largest), Opening::Failed(Fault::Endpoint));
        assert_eq!(opening(&larger), Opening::Begun);
    }
    let comment = [b':'; 1000];
    assert_eq!(read([&comment[..]; 100]).0, Opening::Begun);
}

#[test]
fn a_stream_that_never_comes_to_the_point_counts_as_begun() {
    let mut reader = OpeningReader::default();
    for _ in 0..PREAMBLE {
        // Comments are for free: nothing is kept or read of them.
        let pings = b": ping\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n";
        assert_eq!(reader.read(pings, false), Opening::Waiting);
    }
    let ping = b"data: {\"type\":\"ping\"}\n\n";
    assert_eq!(reader.read(ping, false), Opening::Begun);
}

proptest! {
    #[test]
    fn it_matters_not_where_a_stream_is_cut(
        which in 0..OPENINGS.len(), end in 0usize..3, mut cuts in prop::collection::vec(0usize..400, 0..12)
    ) {
        let (stream, expected) = OPENINGS[which];
        let stream = stream.replace('|', "").replace('\n', ["\n", "\r", "\r\n"][end]);
        let bytes = stream.as_bytes();
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(read(pieces).0, expected);
    }

    #[test]
    fn any_bytes_open_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop::sample::select(&b"data:event:error{}[]\",\n\r \xef\xbb\xbf0"[..]), 0..200),
        cut in 0usize..200,
    ) {
        let (start, rest) = bytes.split_at(cut.min(bytes.len()));
        prop_assert_eq!(read([start, rest]).0, read([&bytes[..]]).0);
    }
}
