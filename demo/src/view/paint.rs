//! Colours and numbers.

use anstyle::{AnsiColor, Style};

use crate::stats::Latency;

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Fair,
    Bad,
}

impl Mood {
    /// Of a share of requests that were answered, in percent.
    pub(crate) fn of_answered(percent: f64) -> Self {
        match percent {
            99.0.. => Self::Good,
            80.0.. => Self::Fair,
            _ => Self::Bad,
        }
    }

    /// Of a latency.
    pub(crate) fn of_latency(latency: Latency) -> Self {
        match latency {
            Latency::Answered(time) if time.as_millis() < 50 => Self::Good,
            Latency::Answered(time) if time.as_millis() < 500 => Self::Fair,
            Latency::Answered(_) | Latency::Unanswered => Self::Bad,
        }
    }
}

/// Puts colours on, where they are wanted.
pub(crate) struct Paint {
    colour: bool,
}

impl Paint {
    /// With colours or without.
    pub(crate) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// What matters most.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// What matters least.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    /// A figure, by how good it is.
    pub(crate) fn mood(&self, mood: Mood, text: &str) -> String {
        let colour = match mood {
            Mood::Good => AnsiColor::Green,
            Mood::Fair => AnsiColor::Yellow,
            Mood::Bad => AnsiColor::Red,
        };
        self.styled(colour.on_default(), text)
    }

    /// The same, louder.
    pub(crate) fn loud(&self, mood: Mood, text: &str) -> String {
        self.bold(&self.mood(mood, text))
    }
}

/// `12345` as `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in percent. 100 is said only when it is all of it.
pub(crate) fn share(percent: f64) -> String {
    if percent >= 100.0 { "100 %".to_owned() } else { format!("{:.1} %", percent.min(99.9)) }
}

/// Columns that a text takes on a terminal, given that it has no wide characters.
#[cfg(test)]
pub(crate) fn width(text: &str) -> usize {
    let mut width = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            characters.by_ref().find(|end| *end == 'm');
        } else {
            width += 1;
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_share_is_not_rounded_up_to_all() {
        assert_eq!([100.0, 99.98, 43.21, 0.0].map(share), ["100 %", "99.9 %", "43.2 %", "0.0 %"]);
    }

    #[test]
    fn no_colour_is_the_text_itself() {
        assert_eq!(Paint::new(false).loud(Mood::Bad, "x"), "x");
        assert_eq!(width(&Paint::new(true).loud(Mood::Bad, "xy")), 2);
    }
}
