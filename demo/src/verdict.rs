//! Whether what was seen is what the project promises. Pure.

use crate::{chaos::Injection, phase::Phase, residue::Traces, stats::Figures};

/// Fewer requests prove nothing.
const ENOUGH: usize = 30;
/// A pair is well when so many of its requests are answered, in percent.
const WELL: f64 = 99.0;
/// By so many points the share of prompt answers must fall for a fault that bites, and may not fall otherwise.
const BITES: f64 = 15.0;
const NOISE: f64 = 5.0;

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// By pair, the target's first, and by phase.
    pub(crate) figures: [[Option<Figures>; 3]; 2],
    pub(crate) injection: Injection,
    /// Programs still attached, well after the end of the fault.
    pub(crate) hooked: usize,
    /// Under the fault, and at the end.
    pub(crate) traces: [Traces; 2],
}

impl Facts {
    /// Figures of a pair in a phase.
    pub(crate) fn figures(&self, pair: usize, phase: Phase) -> Option<Figures> {
        self.figures[pair][phase as usize]
    }
}

/// What is not as it must be; nothing is a pass.
pub(crate) fn complaints(facts: &Facts) -> Vec<String> {
    let mut complaints = Vec::new();
    for (pair, name) in ["A", "B"].into_iter().enumerate() {
        traffic(facts, pair, name, &mut complaints);
    }
    if facts.injection.fired == 0 {
        complaints.push("the rule never fired".to_owned());
    }
    match facts.injection.end.as_deref() {
        Some("expired") => {}
        Some(other) => {
            complaints.push(format!("the fault did not end at its deadline but was {other}"));
        }
        None => complaints.push("the daemon has not seen the fault's deadline".to_owned()),
    }
    if facts.hooked > 0 {
        complaints
            .push(format!("{} hooks were still attached after the fault's end", facts.hooked));
    }
    let [under, left] = facts.traces;
    if under.programs == 0 || under.pins == 0 || under.hooks == 0 {
        complaints.push(
            "the check for traces did not see the fault itself, so it proves nothing".to_owned(),
        );
    }
    let left: Vec<String> = left
        .all()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !left.is_empty() {
        complaints.push(format!("left behind: {}", left.join(", ")));
    }
    complaints
}

fn traffic(facts: &Facts, pair: usize, name: &str, complaints: &mut Vec<String>) {
    let [Some(before), Some(during), Some(after)] =
        Phase::ALL.map(|phase| facts.figures(pair, phase))
    else {
        complaints.push(format!("{name} sent nothing in one of the phases"));
        return;
    };
    let fewest = before.requests.min(during.requests).min(after.requests);
    if fewest < ENOUGH {
        complaints
            .push(format!("{name} sent {fewest} requests in one of the phases: too few to tell"));
        return;
    }
    if before.answered_percent() < WELL {
        complaints
            .push(format!("{name} was not well before the fault: the machine is too busy to tell"));
    }
    let fall = |then: &Figures| before.prompt_percent() - then.prompt_percent();
    if pair == 0 && fall(&during) < BITES {
        complaints.push(format!("the fault did not bite: {name} hardly noticed it"));
    }
    if pair == 1 && (during.answered_percent() < WELL || fall(&during) > NOISE) {
        complaints.push(format!("the bystander was hurt: {name} is not in the target"));
    }
    if after.answered_percent() < WELL || fall(&after) > NOISE {
        complaints.push(format!("{name} is not well again after the fault"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{clock::Moment, stats::Request};

    fn figures(prompt: usize, late: usize, unanswered: usize) -> Option<Figures> {
        let request = |millis, answered| Request {
            began: Moment::default(),
            took: Duration::from_millis(millis),
            answered,
        };
        let all = [(prompt, 1, true), (late, 300, true), (unanswered, 1000, false)];
        let requests: Vec<Request> = all
            .iter()
            .flat_map(|&(count, millis, answered)| {
                (0..count).map(move |_| request(millis, answered))
            })
            .collect();
        Figures::of(&requests)
    }

    fn good() -> Facts {
        let well = figures(100, 0, 0);
        Facts {
            figures: [[well, figures(40, 30, 30), well], [well; 3]],
            injection: Injection { matched: 100, fired: 30, end: Some("expired".into()) },
            hooked: 0,
            traces: [
                Traces { pins: 1, programs: 1, hooks: 1, ..Traces::default() },
                Traces::default(),
            ],
        }
    }

    fn only(facts: &Facts, words: &str) {
        let complaints = complaints(facts);
        assert!(
            complaints.len() == 1 && complaints[0].contains(words),
            "{complaints:?}, not {words}"
        );
    }

    #[test]
    fn what_is_promised_passes() {
        assert_eq!(complaints(&good()), [""; 0]);
    }

    #[test]
    fn each_promise_is_looked_at() {
        let spoilt = |spoil: fn(&mut Facts)| {
            let mut facts = good();
            spoil(&mut facts);
            facts
        };
        only(&spoilt(|facts| facts.figures[0][1] = figures(95, 5, 0)), "did not bite");
        only(&spoilt(|facts| facts.figures[1][1] = figures(97, 0, 3)), "bystander was hurt");
        only(&spoilt(|facts| facts.figures[1][1] = figures(90, 10, 0)), "bystander was hurt");
        only(&spoilt(|facts| facts.figures[0][2] = figures(90, 5, 5)), "A is not well again");
        only(&spoilt(|facts| facts.figures[0][0] = figures(98, 0, 2)), "not well before");
        only(&spoilt(|facts| facts.figures[1][2] = None), "B sent nothing");
        only(&spoilt(|facts| facts.figures[0][1] = figures(2, 2, 2)), "too few");
        only(&spoilt(|facts| facts.injection.fired = 0), "never fired");
        only(&spoilt(|facts| facts.injection.end = Some("recovered".into())), "recovered");
        only(&spoilt(|facts| facts.injection.end = None), "has not seen");
        only(&spoilt(|facts| facts.hooked = 1), "still attached");
        only(&spoilt(|facts| facts.traces[1].pins = 2), "left behind: 2 pins");
        only(&spoilt(|facts| facts.traces[0].hooks = 0), "proves nothing");
    }
}
