//! What a probe's answers mean: plain functions of spec, state, answer and time.

use std::time::Duration;

use tokio::time::Instant;

use super::{ProbeSpec, Verdict};

/// How often one probe is asked when asking itself fails ([`Verdict::Unknown`]).
pub const MAX_PROBE_ATTEMPTS: u32 = 3;

/// What a probe decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// Whether the container has started; the others wait for it.
    Startup,
    /// Whether to restart it.
    Liveness,
    /// Whether it gets traffic.
    Readiness,
}

impl ProbeKind {
    /// What holds until the first verdict: a container is taken for alive, for not ready, and
    /// for nothing yet.
    #[must_use]
    pub fn initial_result(self) -> ProbeResult {
        match self {
            Self::Startup => ProbeResult::Unknown,
            Self::Liveness => ProbeResult::Success,
            Self::Readiness => ProbeResult::Failure,
        }
    }
}

/// What a probe says about its container now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    /// It does well.
    Success,
    /// It does not.
    Failure,
    /// Nothing yet.
    Unknown,
}

/// What a probe remembers of one run of a container. A restarted container gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeState {
    /// What it decides about.
    pub kind: ProbeKind,
    /// What it says now.
    pub result: ProbeResult,
    /// When it was last asked.
    pub asked_at: Option<Instant>,
    /// It has condemned the container and waits for the next run.
    pub on_hold: bool,
    last_good: Option<bool>,
    run: u32,
}

impl ProbeState {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(kind: ProbeKind) -> Self {
        Self {
            kind,
            result: kind.initial_result(),
            asked_at: None,
            on_hold: false,
            last_good: None,
            run: 0,
        }
    }
}

/// What the agent knows about the container besides its probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Situation {
    /// When it began to run; `None` if it does not.
    pub running_since: Option<Instant>,
    /// Its startup probe has succeeded, or it has none.
    pub started: bool,
    /// Its pod is being deleted.
    pub terminating: bool,
}

impl Situation {
    /// Runs since `since`, past its startup probe.
    #[must_use]
    pub fn started(since: Instant) -> Self {
        Self { running_since: Some(since), started: true, terminating: false }
    }

    /// Runs since `since`, its startup probe has not succeeded yet.
    #[must_use]
    pub fn starting(since: Instant) -> Self {
        Self { running_since: Some(since), started: false, terminating: false }
    }

    /// The same, with its pod being deleted.
    #[must_use]
    pub fn terminating(mut self) -> Self {
        self.terminating = true;
        self
    }
}

/// Whether to ask now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Now.
    Ask,
    /// Not before then.
    Wait(Instant),
    /// Not until the situation changes; meanwhile the result is this.
    Rest(ProbeResult),
}

/// Whether to ask `now`.
///
/// A startup probe rests once it has succeeded, the others until it has. Of a container that
/// does not run every result is a failure. Liveness and startup of a terminating pod are taken
/// for good, so that nothing is restarted; readiness goes on.
#[must_use]
pub fn compute_gate(
    spec: &ProbeSpec,
    state: &ProbeState,
    situation: Situation,
    now: Instant,
) -> Gate {
    let Some(since) = situation.running_since else { return Gate::Rest(ProbeResult::Failure) };
    if situation.terminating && state.kind != ProbeKind::Readiness {
        return Gate::Rest(ProbeResult::Success);
    }
    if state.on_hold {
        return Gate::Rest(state.result);
    }
    match (state.kind, situation.started) {
        (ProbeKind::Startup, true) => return Gate::Rest(ProbeResult::Success),
        (ProbeKind::Liveness | ProbeKind::Readiness, false) => return Gate::Rest(state.result),
        _ => {}
    }
    let period = spec.period.max(Duration::from_millis(1));
    let first = since + spec.initial_delay;
    let due = state.asked_at.map_or(first, |asked| first.max(asked + period));
    if due <= now { Gate::Ask } else { Gate::Wait(due) }
}

/// The state after an answer to a question asked at `now`.
///
/// The result changes once the answer came as often in a row as its threshold says. An unknown
/// answer counts for nothing. A liveness or startup probe that fails condemns the container and
/// goes on hold.
#[must_use]
pub fn compute_result(
    spec: &ProbeSpec,
    state: &ProbeState,
    verdict: Verdict,
    now: Instant,
) -> ProbeState {
    let mut next = ProbeState { asked_at: Some(now), ..*state };
    let good = match verdict {
        Verdict::Success | Verdict::Warning => true,
        Verdict::Failure => false,
        Verdict::Unknown => return next,
    };
    next.run = if state.last_good == Some(good) { state.run.saturating_add(1) } else { 1 };
    next.last_good = Some(good);
    let threshold = if good { spec.success_threshold } else { spec.failure_threshold };
    if next.run < threshold {
        return next;
    }
    next.result = if good { ProbeResult::Success } else { ProbeResult::Failure };
    if !good && state.kind != ProbeKind::Readiness {
        next.on_hold = true;
        next.run = 0;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    fn spec() -> ProbeSpec {
        ProbeSpec::new(Action::TcpSocket { host: None, port: 80 })
    }

    /// Answers by letter (`s`uccess, `w`arning, `f`ailure, `u`nknown) give results by letter,
    /// `!` behind one that puts the probe on hold.
    fn check(spec: &ProbeSpec, kind: ProbeKind, answers: &str, expect: &str) {
        let mut state = ProbeState::new(kind);
        let mut seen = String::new();
        let now = Instant::now();
        for answer in answers.chars() {
            let verdict = match answer {
                's' => Verdict::Success,
                'w' => Verdict::Warning,
                'f' => Verdict::Failure,
                _ => Verdict::Unknown,
            };
            state = compute_result(spec, &state, verdict, now);
            seen.push(match state.result {
                ProbeResult::Success => 'S',
                ProbeResult::Failure => 'F',
                ProbeResult::Unknown => 'U',
            });
            if state.on_hold {
                seen.push('!');
            }
        }
        assert_eq!(seen, expect, "{kind:?} {answers}");
    }

    #[tokio::test(start_paused = true)]
    async fn thresholds_count_answers_in_a_row() {
        use ProbeKind::{Liveness, Readiness, Startup};
        let usual = spec();
        let picky = spec().success_threshold(2u32).failure_threshold(2u32);
        for (spec, kind, answers, expect) in [
            (&usual, Readiness, "s", "S"),
            (&usual, Readiness, "sffs", "SSSS"),
            (&usual, Readiness, "sfff", "SSSF"),
            (&usual, Readiness, "sfffs", "SSSFS"),
            (&usual, Readiness, "w", "S"),
            (&usual, Readiness, "sffuf", "SSSSF"),
            (&picky, Readiness, "ss", "FS"),
            (&picky, Readiness, "sfss", "FFFS"),
            (&picky, Readiness, "ssff", "FSSF"),
            (&usual, Liveness, "ff", "SS"),
            (&usual, Liveness, "fff", "SSF!"),
            (&usual, Liveness, "ffsff", "SSSSS"),
            (&usual, Startup, "u", "U"),
            (&usual, Startup, "ffs", "UUS"),
            (&usual, Startup, "fff", "UUF!"),
        ] {
            check(spec, kind, answers, expect);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_keeps_delay_period_and_order() {
        use ProbeKind::{Liveness, Readiness, Startup};
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let spec = spec().initial_delay(seconds(5));
        let later = now + seconds(5);
        let started = Situation::started(now);
        let starting = Situation::starting(now);
        let rest = Gate::Rest;
        for (kind, situation, at, expect) in [
            (Readiness, started, now, Gate::Wait(later)),
            (Readiness, started, later, Gate::Ask),
            (Readiness, starting, later, rest(ProbeResult::Failure)),
            (Liveness, starting, later, rest(ProbeResult::Success)),
            (Startup, starting, later, Gate::Ask),
            (Startup, started, later, rest(ProbeResult::Success)),
            (Liveness, started.terminating(), later, rest(ProbeResult::Success)),
            (Startup, starting.terminating(), later, rest(ProbeResult::Success)),
            (Readiness, started.terminating(), later, Gate::Ask),
            (Liveness, Situation::default(), later, rest(ProbeResult::Failure)),
        ] {
            let state = ProbeState::new(kind);
            assert_eq!(
                compute_gate(&spec, &state, situation, at),
                expect,
                "{kind:?} {situation:?}"
            );
        }
        let asked = compute_result(&spec, &ProbeState::new(Readiness), Verdict::Success, later);
        let next = Gate::Wait(later + seconds(10));
        assert_eq!(compute_gate(&spec, &asked, started, later), next);
    }

    #[tokio::test(start_paused = true)]
    async fn a_condemned_container_is_not_asked_again() {
        let now = Instant::now();
        let spec = spec().failure_threshold(1u32);
        let state = ProbeState::new(ProbeKind::Liveness);
        let held = compute_result(&spec, &state, Verdict::Failure, now);
        let gate = compute_gate(&spec, &held, Situation::started(now), now + spec.period);
        assert_eq!(gate, Gate::Rest(ProbeResult::Failure));
    }
}
