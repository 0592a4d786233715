//! Why Envoy ended, from its log.

/// The lines that say why Envoy ended: the module's own errors if it logged any, else Envoy's last
/// words.
pub(super) fn reasons(log: &str) -> Vec<String> {
    let from_module: Vec<_> = log
        .lines()
        .filter_map(module_error)
        .map(str::to_owned)
        .collect();
    if from_module.is_empty() {
        vec![last_lines(log, 1)]
    } else {
        from_module
    }
}

/// `[time][pid][error][wasm] [file:line] wasm log <plugin> <root id> <vm id>: <text>`
fn module_error(line: &str) -> Option<&str> {
    let (_, said) = line.split_once("wasm log ")?;
    let serious = line.contains("][error][wasm]") || line.contains("][critical][wasm]");
    if serious {
        said.split_once(": ").map(|(_, text)| text)
    } else {
        None
    }
}

pub(super) fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_own_error_is_the_reason_and_not_envoys_summary_of_it() {
        let log = "[2026-11-23 17:45:53.272][1][warning][wasm] [source/x.cc:1] wasm log junheng junheng: beware\n\
                   [2026-11-23 17:45:53.272][1][error][wasm] [source/x.cc:1] wasm log junheng junheng: pools[0].name: empty\n\
                   [2026-11-23 17:45:53.272][1][error][wasm] [source/x.cc:1] Wasm VM failed to configure\n\
                   Unable to create Wasm plugin junheng\n";
        assert_eq!(reasons(log), ["pools[0].name: empty"]);
    }

    #[test]
    fn without_a_word_from_the_module_the_reason_is_envoys_last_line() {
        assert_eq!(
            reasons("[critical] error `x`\nno such field: 'y'\n\n"),
            ["no such field: 'y'"]
        );
    }
}
