//! A load report's fields and names as they come in, whatever the format, and whether they may.

use super::names::{Quantity, quantity};
use super::report::{Report, Tally};

/// A field of `xds.data.orca.v3.OrcaLoadReport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Cpu,
    Memory,
    Rps,
    RequestCost,
    Utilization,
    RpsFractional,
    Eps,
    NamedMetrics,
    Application,
}

impl Field {
    /// The field of this number in the protobuf message.
    pub fn numbered(number: u64) -> Option<Field> {
        Some(match number {
            1 => Field::Cpu,
            2 => Field::Memory,
            3 => Field::Rps,
            4 => Field::RequestCost,
            5 => Field::Utilization,
            6 => Field::RpsFractional,
            7 => Field::Eps,
            8 => Field::NamedMetrics,
            9 => Field::Application,
            _ => return None,
        })
    }

    /// The field of this name, which protobuf's JSON writes in either of two ways.
    pub fn named(name: &[u8]) -> Option<Field> {
        let mut names = FIELDS.iter();
        names.find_map(|(known, field)| (*known == name).then_some(*field))
    }

    /// Whether it holds names with a number each, and not one number.
    pub fn is_map(self) -> bool {
        matches!(
            self,
            Field::RequestCost | Field::Utilization | Field::NamedMetrics
        )
    }
}

/// The fields' names as the message has them and as JSON may spell them. A table for [`quantity`]'s reason.
const FIELDS: [(&[u8], Field); 15] = [
    (b"cpu_utilization", Field::Cpu),
    (b"cpuUtilization", Field::Cpu),
    (b"mem_utilization", Field::Memory),
    (b"memUtilization", Field::Memory),
    (b"rps", Field::Rps),
    (b"request_cost", Field::RequestCost),
    (b"requestCost", Field::RequestCost),
    (b"utilization", Field::Utilization),
    (b"rps_fractional", Field::RpsFractional),
    (b"rpsFractional", Field::RpsFractional),
    (b"eps", Field::Eps),
    (b"named_metrics", Field::NamedMetrics),
    (b"namedMetrics", Field::NamedMetrics),
    (b"application_utilization", Field::Application),
    (b"applicationUtilization", Field::Application),
];

/// What does not belong into a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was there before.
    Duplicate,
    /// Not finite, or below 0.
    Value,
}

/// The report so far.
#[derive(Default)]
pub(super) struct Sheet<'a> {
    tally: Tally,
    /// The fields that were there.
    fields: Vec<Field>,
    /// The names in maps that were there. They are compared with each other: the bound on a value's length
    /// leaves room for a few hundred at most, and a server sends three.
    names: Vec<(Field, &'a [u8])>,
}

impl<'a> Sheet<'a> {
    /// `field`, which may be there once, begins.
    pub fn open(&mut self, field: Field) -> Result<(), Fault> {
        if self.fields.contains(&field) {
            return Err(Fault::Duplicate);
        }
        self.fields.push(field);
        Ok(())
    }

    /// `field` is `value`.
    pub fn number(&mut self, field: Field, value: f64) -> Result<(), Fault> {
        self.open(field)?;
        check(value)?;
        if field == Field::Application {
            self.tally.add(Quantity::Application, value);
        }
        Ok(())
    }

    /// `name` in the map `field` is `value`.
    pub fn entry(&mut self, field: Field, name: &'a [u8], value: f64) -> Result<(), Fault> {
        if self.names.contains(&(field, name)) {
            return Err(Fault::Duplicate);
        }
        self.names.push((field, name));
        check(value)?;
        if matches!(field, Field::Utilization | Field::NamedMetrics)
            && let Some(quantity) = quantity(name)
        {
            self.tally.add(quantity, value);
        }
        Ok(())
    }

    /// What the report says.
    pub fn report(self) -> Report {
        self.tally.report()
    }
}

fn check(value: f64) -> Result<(), Fault> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(Fault::Value)
    }
}
