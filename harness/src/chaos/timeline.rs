//! The run as a picture: what was done to each endpoint over what the balancer thought of it.
//!
//! SVG by hand: rectangles and text need no library, and the file opens in any browser.

use std::fmt::Write;
use std::time::Duration;

use super::reckon::Record;
use super::report::Report;
use super::schedule::Kind;
use super::standing::State;
use super::words;
use crate::stage::Role;

const WIDTH: f64 = 1200.0;
/// Where time begins and ends.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 1180.0;
/// The strip of requests a second.
const STRIP_TOP: f64 = 64.0;
const STRIP_HEIGHT: f64 = 90.0;
/// One endpoint: what was done to it above, its state below.
const LANES_TOP: f64 = 178.0;
const LANE: f64 = 46.0;
const UNKNOWN: &str = "#e3e3e3";
const ATTACK: &str = "#9d4edd";

/// The picture of `record`, the run that `report` tells of.
pub fn draw(record: &Record, cast: &[Role], report: &Report) -> String {
    let attacked = usize::from(!record.attacks.is_empty());
    let lanes_end = LANES_TOP + LANE * (cast.len() + attacked) as f64;
    let height = lanes_end + 76.0;
    let mut picture = Picture {
        text: String::new(),
        end: record.end.as_secs_f64().max(1.0),
    };
    let _ = write!(
        picture.text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    picture.title(report);
    picture.strip(record);
    for (number, role) in cast.iter().enumerate() {
        picture.lane(number, &role.name, record);
    }
    picture.attacks(cast.len(), record);
    picture.axis(lanes_end);
    picture.incidents(record, lanes_end);
    picture.legend(lanes_end + 56.0);
    picture.text.push_str("</svg>\n");
    picture.text
}

struct Picture {
    text: String,
    /// Seconds that the axis shows.
    end: f64,
}

impl Picture {
    fn x(&self, at: Duration) -> f64 {
        LEFT + (RIGHT - LEFT) * (at.as_secs_f64() / self.end).min(1.0)
    }

    fn title(&mut self, report: &Report) {
        let title = format!(
            "harness chaos on {}, seed {}: availability {:.5}, {} of {} requests failed",
            report.host, report.seed, report.availability, report.failed, report.requests
        );
        self.write(LEFT, 26.0, "font-size=\"17\" font-weight=\"bold\"", &title);
        let figure = |value: Option<u64>| value.map_or("unknown".to_owned(), |v| v.to_string());
        let figures = format!(
            "detected within {} ms, back within {} ms of healing (p99), {} requests after a trip",
            figure(report.detect_ms_p99),
            figure(report.recover_ms_p99),
            figure(report.failed_after_trip)
        );
        self.write(LEFT, 46.0, "fill=\"#555\"", &figures);
    }

    /// Requests in grey and failures in red, a bar a second.
    fn strip(&mut self, record: &Record) {
        let seconds = self.end.ceil() as usize;
        let mut bars = vec![(0_u64, 0_u64); seconds];
        for sample in &record.samples {
            if let Some((all, failed)) = bars.get_mut(sample.ended.as_secs() as usize) {
                *all += 1;
                *failed += u64::from(sample.failed.is_some());
            }
        }
        let most = bars.iter().map(|(all, _)| *all).max().unwrap_or(0).max(1);
        let bottom = STRIP_TOP + STRIP_HEIGHT;
        for (second, (all, failed)) in bars.into_iter().enumerate() {
            let (from, to) = (second as u64, second as u64 + 1);
            let x = self.x(Duration::from_secs(from));
            let width = (self.x(Duration::from_secs(to)) - x - 0.5).max(0.3);
            let tall = |count: u64| STRIP_HEIGHT * count as f64 / most as f64;
            self.rect(
                (x, bottom - tall(all)),
                (width, tall(all)),
                "fill=\"#b8c4ce\"",
            );
            if failed > 0 {
                // One failure among hundreds is what the picture is for: never thinner than a line.
                let tall = tall(failed).max(3.0);
                self.rect((x, bottom - tall), (width, tall), "fill=\"#d00000\"");
            }
        }
        let right = "text-anchor=\"end\" fill=\"#555\"";
        self.write(LEFT - 8.0, STRIP_TOP + 10.0, right, &format!("{most}/s"));
        self.write(LEFT - 8.0, bottom, right, "requests");
    }

    fn lane(&mut self, number: usize, name: &str, record: &Record) {
        let top = LANES_TOP + LANE * number as f64;
        self.write(LEFT - 8.0, top + 34.0, "text-anchor=\"end\"", name);
        self.rect(
            (LEFT, top + 22.0),
            (RIGHT - LEFT, 16.0),
            &format!("fill=\"{UNKNOWN}\""),
        );
        if let Some(history) = record.histories.get(number) {
            for (from, to, state) in history.spans(record.end) {
                let (x, width) = (self.x(from), self.x(to) - self.x(from));
                let fill = format!("fill=\"{}\"", colour(state));
                self.rect((x, top + 22.0), (width, 16.0), &fill);
            }
        }
        let trials = record.trials.iter().filter(|one| one.endpoint == number);
        for trial in trials {
            self.block((trial.from, trial.until), top + 4.0, trial.kind, "#3d405b");
        }
    }

    /// One more lane: what hostile tenants did.
    fn attacks(&mut self, number: usize, record: &Record) {
        let top = LANES_TOP + LANE * number as f64;
        for (number, attack) in record.attacks.iter().enumerate() {
            // Two rows, as attacks may be at the same time.
            let y = top + 4.0 + 18.0 * (number % 2) as f64;
            self.block((attack.from, attack.until), y, attack.kind, ATTACK);
        }
        if !record.attacks.is_empty() {
            self.write(LEFT - 8.0, top + 34.0, "text-anchor=\"end\"", "attacks");
        }
    }

    /// Something that went on for a while, with its name in it or beside it.
    fn block(&mut self, (from, until): (Duration, Duration), y: f64, kind: Kind, colour: &str) {
        let (x, width) = (self.x(from), self.x(until) - self.x(from));
        let fill = format!("fill=\"{colour}\" stroke=\"{colour}\"");
        self.rect((x, y), (width, 16.0), &fill);
        let name = kind.name();
        if width > 10.0 + 7.0 * name.len() as f64 {
            self.write(x + 4.0, y + 12.0, "fill=\"#fff\"", name);
        } else {
            self.write(x + width + 3.0, y + 12.0, "", name);
        }
    }

    fn axis(&mut self, y: f64) {
        // About ten marks, at a distance that people count in.
        let step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600]
            .into_iter()
            .find(|step| self.end / *step as f64 <= 15.0)
            .unwrap_or(600);
        for second in (0..=self.end as u64).step_by(step) {
            let x = self.x(Duration::from_secs(second));
            self.line((x, STRIP_TOP), (x, y + 4.0), "stroke=\"#00000018\"");
            let label = format!("{second} s");
            self.write(x, y + 18.0, "text-anchor=\"middle\" fill=\"#555\"", &label);
        }
    }

    fn incidents(&mut self, record: &Record, y: f64) {
        for (number, (at, incident)) in record.incidents.iter().enumerate() {
            let x = self.x(*at);
            self.line(
                (x, STRIP_TOP - 6.0),
                (x, y),
                "stroke=\"#7b2cbf\" stroke-dasharray=\"4 3\"",
            );
            // Text that begins near the right edge would leave the picture.
            let anchor = if x > RIGHT - 180.0 { "end" } else { "start" };
            let x = if anchor == "end" { x - 4.0 } else { x + 4.0 };
            let style = format!("text-anchor=\"{anchor}\" fill=\"#7b2cbf\" font-size=\"11\"");
            // Two rows, as neighbours may be close.
            let y = LANES_TOP - 3.0 - 11.0 * (number % 2) as f64;
            self.write(x, y, &style, &words::incident(*incident));
        }
    }

    fn legend(&mut self, y: f64) {
        let mut x = LEFT;
        let states = State::ALL.map(|state| (colour(state), state.name()));
        let others = [
            (UNKNOWN, "no gauge"),
            ("#3d405b", "fault"),
            (ATTACK, "attack"),
            ("#b8c4ce", "requests/s"),
            ("#d00000", "failed"),
        ];
        for (colour, name) in states.into_iter().chain(others) {
            self.rect((x, y - 11.0), (14.0, 14.0), &format!("fill=\"{colour}\""));
            self.write(x + 19.0, y, "", name);
            x += 44.0 + 6.5 * name.len() as f64;
        }
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), style: &str) {
        let _ = writeln!(
            self.text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}/>"
        );
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
        let _ = writeln!(
            self.text,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
        );
    }

    fn write(&mut self, x: f64, y: f64, style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>"
        );
    }
}

fn colour(state: State) -> &'static str {
    match state {
        State::Admitting => "#52b788",
        State::Ramping => "#b7e4c7",
        State::Probing => "#ffd166",
        State::Tripped => "#e63946",
        State::Resting => "#90a9f0",
        State::Unhealthy => "#7f1d1d",
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Sample;
    use super::super::reckon::Trial;
    use super::super::schedule::{Attack, Incident};
    use super::super::standing::History;
    use super::*;
    use crate::front::Host;

    fn picture(name: &str, changes: &[(u64, State)]) -> String {
        let mut history = History::default();
        for (second, state) in changes {
            history.note(Duration::from_secs(*second), *state);
        }
        let sample = |millis: u64| Sample {
            ended: Duration::from_millis(millis),
            took: Duration::from_millis(20),
            failed: (millis == 5_000).then(|| "reset".to_owned()),
        };
        let record = Record {
            samples: (0..600).map(|number| sample(number * 100)).collect(),
            trials: vec![Trial {
                endpoint: 0,
                kind: Kind::Hang,
                from: Duration::from_secs(5),
                until: Duration::from_secs(17),
            }],
            hostile: Vec::new(),
            attacks: vec![Attack {
                kind: Kind::Tenant429,
                from: Duration::from_secs(8),
                until: Duration::from_secs(20),
            }],
            incidents: vec![(Duration::from_secs(59), Incident::Step(-1))],
            histories: vec![history],
            missing_gauge: None,
            arrivals: vec![Vec::new()],
            end: Duration::from_secs(60),
        };
        let address = ([127, 0, 0, 1], 80).into();
        let cast = [Role {
            pool: "p".into(),
            name: name.into(),
            speed: "fast",
            configured: address,
            simulated: address,
        }];
        let report = Report::of(Host::Embedded, 7, Vec::new(), &record, &cast, Vec::new());
        draw(&record, &cast, &report)
    }

    /// The elements that are open at each point nest, and every attribute is quoted.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("a tag ends");
            assert!(!text.contains('&') || text.contains("&amp;") || text.contains("&lt;"));
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            assert_eq!(
                tag.matches('=').count() * 2,
                tag.matches('"').count(),
                "{tag}"
            );
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
    }

    #[test]
    fn the_picture_is_well_formed_whatever_an_endpoint_is_called() {
        for name in ["small-1", "a<b>&\"c\""] {
            assert_well_formed(&picture(
                name,
                &[(0, State::Admitting), (6, State::Tripped)],
            ));
            assert_well_formed(&picture(name, &[]));
        }
    }

    #[test]
    fn the_picture_shows_fault_states_failures_seed_and_availability() {
        let svg = picture(
            "small-1",
            &[
                (0, State::Admitting),
                (6, State::Tripped),
                (36, State::Ramping),
            ],
        );
        for what in [
            "seed 7: availability 0.99833, 1 of 600",
            ">hang<",
            ">tenant_429<",
            ">small-1<",
            "the wall clock steps by -1 h",
        ] {
            assert!(svg.contains(what), "{what} is not in {svg}");
        }
        // Once in the lane, once in the legend; what was not shown in the legend only.
        let count = |state| svg.matches(colour(state)).count();
        assert_eq!(count(State::Tripped), 2);
        assert_eq!(count(State::Unhealthy), 1);
    }
}
