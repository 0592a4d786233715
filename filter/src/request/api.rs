//! Which API a request speaks, by its path.

use std::borrow::Cow;

use crate::values::form;

/// The request formats that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI `/v1/chat/completions`
    ChatCompletions,
    /// OpenAI `/v1/completions`
    Completions,
    /// OpenAI `/v1/embeddings`
    Embeddings,
    /// OpenAI `/v1/responses`
    Responses,
    /// Anthropic `/v1/messages`
    Messages,
}

/// By the end of the path. The longer name stands before the one that it ends in.
const SUFFIXES: [(&[u8], Api); 5] = [
    (b"/chat/completions", Api::ChatCompletions),
    (b"/completions", Api::Completions),
    (b"/embeddings", Api::Embeddings),
    (b"/responses", Api::Responses),
    (b"/messages", Api::Messages),
];

impl Api {
    /// The API that `path` ends in, whatever prefix a proxy or a vendor puts before it.
    ///
    /// Query, percent encoding, doubled and trailing slashes make no difference: a server that
    /// tolerates them must not be reached around the rules.
    pub fn of_path(path: &[u8]) -> Option<Api> {
        let path = normal(path);
        SUFFIXES
            .iter()
            .find(|(suffix, _)| path.ends_with(suffix))
            .map(|(_, api)| *api)
    }
}

/// The path decoded, without query, and with single slashes and none at its end; mostly it is.
pub(super) fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    let encoded = path.iter().any(|byte| matches!(byte, b'%' | b'?' | b'#'));
    let slashes = path.windows(2).any(|pair| pair == b"//") || path.last() == Some(&b'/');
    match encoded || slashes {
        false => Cow::Borrowed(path),
        true => Cow::Owned(normalized(path)),
    }
}

fn normalized(path: &[u8]) -> Vec<u8> {
    let path = path
        .split(|byte| matches!(byte, b'?' | b'#'))
        .next()
        .unwrap_or_default();
    let mut normal = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let decoded = (*byte == b'%').then(|| after.split_first_chunk::<2>().and_then(decode));
        let (byte, after) = decoded.flatten().unwrap_or((*byte, after));
        rest = after;
        if byte != b'/' || normal.last() != Some(&b'/') {
            normal.push(byte);
        }
    }
    if normal.last() == Some(&b'/') {
        normal.pop();
    }
    normal
}

fn decode<'a>((digits, after): (&[u8; 2], &'a [u8])) -> Option<(u8, &'a [u8])> {
    form::byte_of(*digits).map(|byte| (byte, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_told_by_the_end_of_the_path() {
        for (path, api) in [
            ("/v1/chat/completions", Some(Api::ChatCompletions)),
            (
                "/openai/v1/chat/completions?api-version=1",
                Some(Api::ChatCompletions),
            ),
            ("/v1//chat///completions//", Some(Api::ChatCompletions)),
            ("/v1/ch%61t%2Fcompletions", Some(Api::ChatCompletions)),
            ("/v1/completions", Some(Api::Completions)),
            ("/v1/embeddings/?x=/chat/completions", Some(Api::Embeddings)),
            ("/responses", Some(Api::Responses)),
            ("/anthropic/v1/messages", Some(Api::Messages)),
            ("/v1/messages/count_tokens", None),
            ("/v1/mychat%2/completions%", None),
            ("/xcompletions", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Api::of_path(path.as_bytes()), api, "{path}");
        }
    }
}
