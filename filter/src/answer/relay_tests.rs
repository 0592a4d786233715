//! What leaves is what came but for one event, however it is cut.

use super::*;
use proptest::prelude::*;

const USAGE: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n\n";

/// Streams as parts, of which those of [`USAGE`] are to be taken out.
const STREAMS: [&[&str]; 10] = [
    &[
        "\u{feff}: hi\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"é\"}}],\"usage\":null}\n\n",
        USAGE,
        "data: [DONE]\n\n",
    ],
    &[USAGE],
    &[USAGE, USAGE, "data: [DONE]\n\n"],
    &[
        "data: {\"choices\":[{\"text\":\"\\\"choices\\\":[],\\\"usage\\\":{}\"}]}\n\n",
        USAGE,
        ": bye\n",
    ],
    // Azure's first event, one of usage with each event, another API, no JSON, no end.
    &[
        "data: {\"choices\":[],\"prompt_filter_results\":[{}],\"usage\":null}\n\n",
        USAGE,
    ],
    &[
        "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"completion_tokens\":1}}\n\n",
        USAGE,
    ],
    &[
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n",
    ],
    &["data\n\ndata: x\n\n\n\n", USAGE, "\ndata: {\"choices\":[]"],
    &[
        "data: {\"usage\":{},\ndata: \"choices\":[{}]}\n\nid: 1\n",
        "\n",
    ],
    // An event of two lines behind the one that is taken out.
    &[USAGE, "data: {\"choices\":[{}],\ndata: \"x\":1}\n\n"],
];

fn unasked() -> Relay {
    Relay::new(Form::Events).without_usage()
}

fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut pieces = pieces.into_iter().peekable();
    let (mut relay, mut out) = (unasked(), Vec::new());
    while let Some(piece) = pieces.next() {
        let instead = relay.pass(piece, pieces.peek().is_none());
        out.extend(instead.as_deref().unwrap_or(piece));
        assert!(relay.held.len() <= HELD);
    }
    out
}

#[test]
fn the_event_is_taken_out_at_every_cut_and_nothing_else_changes() {
    for parts in STREAMS {
        for end in ["\n", "\r", "\r\n"] {
            let with = parts.concat().replace('\n', end);
            let without: Vec<&str> = parts
                .iter()
                .copied()
                .filter(|part| *part != USAGE)
                .collect();
            let without = without.concat().replace('\n', end);
            let bytes = with.as_bytes();
            let is = |passed: Vec<u8>| assert_eq!(String::from_utf8_lossy(&passed), without);
            is(passed([bytes]));
            is(passed(bytes.chunks(1)));
            is(passed([bytes, b""]));
            for cut in 0..bytes.len() {
                let (start, rest) = bytes.split_at(cut);
                is(passed([start, rest]));
            }
        }
    }
}

#[test]
fn an_event_without_its_empty_line_is_taken_out_at_the_end() {
    let stream = ["data: {\"choices\":[{}]}\n\n", USAGE.trim_end()].concat();
    for cut in 0..stream.len() {
        let (start, rest) = stream.as_bytes().split_at(cut);
        assert_eq!(passed([start, rest, b""]), b"data: {\"choices\":[{}]}\n\n");
    }
}

/// Whole events in a piece are the normal case: they cost no copy.
#[test]
fn a_piece_that_leaves_as_it_came_is_not_copied() {
    let mut unasked = unasked();
    for piece in STREAMS[0].iter().filter(|part| **part != USAGE) {
        assert_eq!(unasked.pass(piece.as_bytes(), false), None);
    }
}

#[test]
fn text_is_not_held_back_once_there_is_a_choice() {
    let mut unasked = unasked();
    assert_eq!(
        unasked.pass(b"data: {\"choices\":", false),
        Some(Vec::new())
    );
    assert_eq!(
        unasked.pass(b"[{\"delta", false).as_deref(),
        Some(&b"data: {\"choices\":[{\"delta"[..])
    );
    assert_eq!(unasked.pass(b"\":{\"content\":\"a", false), None);
}

#[test]
fn no_more_is_held_back_than_its_bound() {
    let event = [
        b"data: {\"x\":\"",
        &[b'y'; 3 * HELD][..],
        b"\",\"choices\":[],\"usage\":{}}\n\n",
    ]
    .concat();
    assert_eq!(passed(event.chunks(100)), event);
}

/// A chat of so many tokens, one an event: the text alone would be estimated at less, so the pieces count.
fn chat(events: usize) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut chat = vec![chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null")];
    chat.extend((0..events).map(|_| chunk("{\"content\":\"a \"}", "null")));
    chat.extend([
        chunk("{}", "\"stop\""),
        USAGE.to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ]);
    chat
}

fn within(budget: u32, pieces: &[&[u8]]) -> (String, Relay) {
    let mut relay = Relay::new(Form::Events)
        .without_usage()
        .within(Tokens(budget));
    let mut out = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let instead = relay.pass(piece, at + 1 == pieces.len());
        out.extend(instead.as_deref().unwrap_or(piece));
    }
    (String::from_utf8(out).unwrap(), relay)
}

#[test]
fn a_stream_is_cut_before_its_budget_is_exceeded_wherever_it_is_split() {
    const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    for end in ["\n", "\r", "\r\n"] {
        let events: Vec<String> = chat(6)
            .iter()
            .map(|event| event.replace('\n', end))
            .collect();
        let whole = events.concat();
        let expected = events[..5].concat() + LAST;
        for cut in 0..=whole.len() {
            let (start, rest) = whole.as_bytes().split_at(cut);
            let (got, relay) = within(4, &[start, rest, b""]);
            assert_eq!(got, expected, "{cut}");
            assert!(relay.is_cut());
            // What was swallowed was generated all the same: as the upstream reports it at its end.
            assert_eq!(relay.relayed().output, Tokens(3));
        }
    }
}

#[test]
fn what_is_swallowed_behind_a_cut_is_counted_and_not_kept() {
    let mut relay = Relay::new(Form::Events).within(Tokens(4));
    let events = chat(100);
    for (at, event) in events[..101].iter().enumerate() {
        let instead = relay.pass(event.as_bytes(), false);
        assert_eq!(relay.relayed().output, Tokens(at as u32));
        assert_eq!((relay.is_cut(), instead.is_some()), (at > 4, at > 4));
        assert!(at <= 5 || instead.is_some_and(|instead| instead.is_empty()));
        assert_eq!(relay.held.capacity(), 0);
    }
}

#[test]
fn a_stream_within_its_budget_ends_by_itself() {
    let whole = chat(6).concat();
    let expected = whole.replace(USAGE, "");
    for pieces in [vec![whole.as_bytes()], whole.as_bytes().chunks(7).collect()] {
        let (got, relay) = within(6, &pieces);
        assert_eq!(got, expected);
        assert!(!relay.is_cut() && relay.relayed().finished);
        // As the upstream reported it.
        assert_eq!(relay.relayed().output, Tokens(3));
    }
}

#[test]
fn whole_events_within_a_budget_are_not_copied() {
    let mut relay = Relay::new(Form::Events).within(Tokens(50));
    for event in chat(48) {
        assert_eq!(relay.pass(event.as_bytes(), false), None);
    }
}

#[test]
fn a_last_event_without_its_empty_line_is_cut_as_well() {
    let mut events = chat(2);
    events.truncate(3);
    let whole = events.concat();
    let (got, relay) = within(1, &[whole.trim_end().as_bytes()]);
    assert!(
        relay.is_cut() && got.contains("length") && got.matches("\"a \"").count() == 1,
        "{got}"
    );
}

#[test]
fn a_stream_that_nobody_knows_how_to_end_is_relayed_and_counted() {
    let event = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a \"}\n\n";
    let whole = event.repeat(5);
    for pieces in [vec![whole.as_bytes()], whole.as_bytes().chunks(5).collect()] {
        let (got, relay) = within(2, &pieces);
        assert_eq!(got, whole);
        assert_eq!((relay.is_cut(), relay.relayed().output), (false, Tokens(5)));
    }
}

#[test]
fn one_json_object_is_counted_and_left_alone() {
    let mut relay = Relay::new(Form::Json).without_usage().within(Tokens(0));
    let answer = br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    assert_eq!(relay.pass(answer, true), None);
    assert!(!relay.changes() && relay.relayed().output == Tokens(2));
}

proptest! {
    #[test]
    fn random_cuts_change_nothing(
        which in 0..STREAMS.len(), end in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        mut cuts in prop::collection::vec(0usize..600, 0..12)
    ) {
        let text = STREAMS[which].concat().replace('\n', end);
        let bytes = text.as_bytes();
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(passed(pieces), passed([bytes]));
    }

    #[test]
    fn whatever_comes_leaves_the_same_in_pieces(
        parts in prop::collection::vec(prop_oneof![
            Just(USAGE.to_owned()), Just("data: {\"object\":\"text_completion\",\"choices\":[".to_owned()),
            Just("{\"text\":\"one two\"".to_owned()), Just("}]}".to_owned()), Just("\r".to_owned()), Just("\n".to_owned()),
            Just("\n\n".to_owned()), Just("\r\n\r\n".to_owned()), Just("data: {\"usage\":{},\"choices\":[".to_owned()),
            Just("]}".to_owned()), Just("\u{feff}".to_owned()), Just(":".to_owned()), "[ -~]{0,5}"
        ], 0..40),
        mut cuts in prop::collection::vec(0usize..900, 0..12), budget in prop::option::of(0u32..8)
    ) {
        let text = parts.concat();
        let bytes = text.as_bytes();
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let run = |pieces: &[&[u8]]| match budget {
            None => (passed(pieces.iter().copied()), None),
            Some(budget) => {
                let (got, relay) = within(budget, pieces);
                (got.into_bytes(), Some(relay.relayed()))
            }
        };
        prop_assert_eq!(run(&pieces), run(&[bytes]));
    }
}
