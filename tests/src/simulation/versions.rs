//! Code that changes under runs: every kind of edit, versions, patches; and what a run that stands still over it says.

use everstep::prelude::*;
use everstep_common::journal::{EntryKey, JournalEntry};
use everstep_core::Definition;
use everstep_orchestrator::Workflows;
use futures::FutureExt;

use super::scenarios::{Scenario, expect_completed, scenario};
use super::shop::{self, square};
use super::world::World;

/// How long a run sleeps in the middle of what is edited.
const NAP: Duration = Duration::from_secs(8);

/// Scenarios that end the same whoever dies.
pub fn version_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(two_versions),
        scenario!(started_by_name),
        scenario!(patched_under_way),
        scenario!(a_step_is_inserted),
    ]
}

/// The other edits, which go the same ways.
pub fn edit_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(a_step_is_removed),
        scenario!(a_step_is_renamed),
        scenario!(a_step_is_moved),
        scenario!(an_input_is_changed),
        scenario!(a_branch_is_changed),
        scenario!(the_version_is_bumped),
        scenario!(a_step_is_patched_in),
    ]
}

/// A step under a key of its own.
async fn ask(ctx: &WorkflowContext, key: &str, number: u64) -> Result<u64, WorkflowError> {
    ctx.step(square, number).key(key).await
}

/// What runs begin with: two steps, a nap, a step.
#[workflow(name = "edited")]
async fn original(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let sum = ask(&ctx, "a", 1).await? + ask(&ctx, "b", 2).await?;
    ctx.sleep(NAP).await?;
    Ok(sum + ask(&ctx, "c", 3).await?)
}

/// The same, edited in one way each.
mod edits {
    use super::*;

    macro_rules! edit {
        ($name:ident, $version:literal: $($step:ident)* / $($last:ident)*) => {
            #[workflow(name = "edited", version = $version)]
            pub(super) async fn $name(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
                let mut sum = 0;
                $(sum += steps::$step(&ctx).await?;)*
                ctx.sleep(NAP).await?;
                $(sum += steps::$last(&ctx).await?;)*
                Ok(sum)
            }
        };
    }

    /// What the edits are made of.
    mod steps {
        use super::super::*;

        type Asked = Result<u64, WorkflowError>;

        pub(super) async fn a(ctx: &WorkflowContext) -> Asked {
            ask(ctx, "a", 1).await
        }
        pub(super) async fn b(ctx: &WorkflowContext) -> Asked {
            ask(ctx, "b", 2).await
        }
        pub(super) async fn c(ctx: &WorkflowContext) -> Asked {
            ask(ctx, "c", 3).await
        }
        pub(super) async fn x(ctx: &WorkflowContext) -> Asked {
            ask(ctx, "x", 9).await
        }
        pub(super) async fn b_renamed(ctx: &WorkflowContext) -> Asked {
            ask(ctx, "b2", 2).await
        }
        pub(super) async fn b_of_another_input(ctx: &WorkflowContext) -> Asked {
            ask(ctx, "b", 5).await
        }
        pub(super) async fn x_if_patched(ctx: &WorkflowContext) -> Asked {
            if ctx.patched("x before b") { x(ctx).await } else { Ok(0) }
        }
        pub(super) async fn b_or_x(ctx: &WorkflowContext) -> Asked {
            // What decides has changed, so that runs take the other branch.
            let is_late = ctx.now() > Timestamp::UNIX_EPOCH;
            if is_late { x(ctx).await } else { b(ctx).await }
        }
    }

    edit!(inserted, 1: a x b / c);
    edit!(removed, 1: a / c);
    edit!(renamed, 1: a b_renamed / c);
    edit!(moved, 1: b a / c);
    edit!(input, 1: a b_of_another_input / c);
    edit!(branch, 1: a b_or_x / c);
    edit!(bumped, 2: a x b / c);
    edit!(patched, 1: a x_if_patched b / c);
}

/// Says which version it is.
mod releases {
    use super::*;

    #[workflow(name = "versioned")]
    pub(super) async fn first(ctx: WorkflowContext) -> Result<String, WorkflowError> {
        ask(&ctx, "a", 1).await?;
        ctx.sleep(NAP).await?;
        ask(&ctx, "old", 4).await?;
        Ok("version 1".to_owned())
    }

    #[workflow(name = "versioned", version = 2)]
    pub(super) async fn second(ctx: WorkflowContext) -> Result<String, WorkflowError> {
        ask(&ctx, "a", 1).await?;
        ctx.sleep(NAP).await?;
        ask(&ctx, "new", 5).await?;
        Ok("version 2".to_owned())
    }
}

/// A patch in the middle, and how far a run came with the code of before.
mod patches {
    use super::*;

    #[workflow(name = "patching")]
    pub(super) async fn before(ctx: WorkflowContext, naps: u32) -> Result<String, WorkflowError> {
        ask(&ctx, "a", 1).await?;
        ctx.sleep(NAP * naps).named("first").await?;
        ask(&ctx, "b", 2).await?;
        ctx.sleep(NAP * 3).named("second").await?;
        Ok("the code of before".to_owned())
    }

    #[workflow(name = "patching")]
    pub(super) async fn after(ctx: WorkflowContext, naps: u32) -> Result<String, WorkflowError> {
        ask(&ctx, "a", 1).await?;
        ctx.sleep(NAP * naps).named("first").await?;
        let is_new = ctx.patched("checked");
        if is_new {
            ask(&ctx, "check", 9).await?;
        }
        ask(&ctx, "b", 2).await?;
        ctx.sleep(NAP * 3).named("second").await?;
        Ok(format!("patched: {}", ctx.patched("checked") && is_new))
    }
}

/// What all processes have in the end: what P2 replays runs by.
pub(super) fn definitions() -> Vec<Definition> {
    let resources = Default::default;
    vec![
        everstep::definition(original, resources()),
        everstep::definition(edits::bumped, resources()),
        everstep::definition(releases::first, resources()),
        everstep::definition(releases::second, resources()),
        everstep::definition(patches::after, resources()),
    ]
}

fn only(definitions: impl IntoIterator<Item = Definition>) -> Workflows {
    let mut workflows = Workflows::new();
    let all = definitions.into_iter();
    all.for_each(|definition| workflows.register(definition).expect("each is registered once"));
    workflows
}

macro_rules! code {
    ($($workflow:path),*) => {
        || only([$(everstep::definition($workflow, Default::default())),*])
    };
}

impl World {
    /// Takes the orchestrator away and starts another one with other code.
    fn deploy(&self, number: u32, code: fn() -> Workflows) {
        if number > 1 {
            self.kill(&format!("orchestrator-{}", number - 1));
        }
        self.orchestrator(&format!("orchestrator-{number}"), code);
    }

    /// Returns once every run has recorded that entry.
    async fn recorded(&self, key: &str) {
        let key: EntryKey = key.parse().expect("the key of an entry");
        let has_it = |entries: &[JournalEntry]| entries.iter().any(|entry| entry.key == key);
        self.until(|world| world.stories().iter().all(|story| has_it(&story.entries)))
            .await;
        self.pass(Duration::from_secs(1)).await;
    }

    /// Why the run is parked.
    fn explanation(&self, run: &everstep::RunId) -> String {
        let summary = self.summary(run).expect("a run is listed");
        summary.reason.expect("a parked run says why")
    }
}

/// What an edit does to a run that has recorded a and b, and naps.
enum Class {
    /// It goes on and ends.
    GoesOn,
    /// It is parked and says so, in these words among others; with the code that it began with it goes on once it is told to.
    Parks(&'static [&'static str]),
    /// It waits for its version, and goes on by itself when that is there.
    Waits(&'static [&'static str]),
}

async fn edited(world: World, code: fn() -> Workflows, class: Class) {
    world.worker("worker-1", &["default"]);
    world.deploy(1, code!(original));
    let run = world.start(original, (), "edited").await;
    world.recorded("step.b").await;
    world.deploy(2, code);
    let (reason, told) = match class {
        Class::GoesOn => return expect_completed(&world, &run).await,
        Class::Parks(told) => ("nondeterministic", told),
        Class::Waits(told) => ("no code", told),
    };
    world.parked(&run, reason).await;
    let explanation = world.explanation(&run);
    let lacks = told.iter().find(|part| !explanation.contains(**part));
    assert_eq!(lacks, None, "{explanation}");
    world.deploy(3, shop::code);
    world.pass(Duration::from_secs(2)).await;
    if reason == "nondeterministic" {
        world.resume(&run, false).await;
    }
    expect_completed(&world, &run).await;
}

/// What every explanation of changed code ends with.
const CURE: &str =
    "Nothing has been done since: deploy the code that the run began with, or code that still asks for all that is recorded";

async fn a_step_is_inserted(world: World) {
    let told = Class::Parks(&[
        "the journal holds step b (function square",
        "asks for instead: step x (function square)",
        CURE,
    ]);
    edited(world, code!(edits::inserted), told).await;
}

async fn a_step_is_removed(world: World) {
    let told = Class::Parks(&[
        "the journal holds step b (function square",
        "asks for instead: timer sleep",
        CURE,
    ]);
    edited(world, code!(edits::removed), told).await;
}

async fn a_step_is_renamed(world: World) {
    let told = Class::Parks(&[
        "the journal holds step b (function square",
        "asks for instead: step b2 (function square)",
        CURE,
    ]);
    edited(world, code!(edits::renamed), told).await;
}

async fn a_step_is_moved(world: World) {
    edited(world, code!(edits::moved), Class::GoesOn).await;
}

async fn an_input_is_changed(world: World) {
    let told = Class::Parks(&[
        "under key b the journal holds square of the input with digest",
        "another input",
        CURE,
    ]);
    edited(world, code!(edits::input), told).await;
}

async fn a_branch_is_changed(world: World) {
    let told = Class::Parks(&[
        "the journal holds step b (function square",
        "asks for instead: step x (function square)",
        CURE,
    ]);
    edited(world, code!(edits::branch), told).await;
}

async fn the_version_is_bumped(world: World) {
    let told = Class::Waits(&[
        "began with version 1 of workflow edited",
        "it has version 2",
        "Deploy one that has it",
        "goes on by itself",
    ]);
    edited(world, code!(edits::bumped), told).await;
}

async fn a_step_is_patched_in(world: World) {
    edited(world, code!(edits::patched), Class::GoesOn).await;
}

async fn two_versions(world: World) {
    world.worker("worker-1", &["default"]);
    world.deploy(1, code!(releases::first));
    let old = world.start(releases::first, (), "old").await;
    world.recorded("step.a").await;
    world.deploy(2, code!(releases::second));
    world.parked(&old, "no code").await;
    let new = world.start(releases::second, (), "new").await;
    expect_completed(&world, &new).await;
    world.deploy(3, code!(releases::first, releases::second));
    expect_completed(&world, &old).await;
}

/// A run that was started by name stays with the version that was the newest then.
async fn started_by_name(world: World) {
    world.worker("worker-1", &["default"]);
    world.deploy(1, code!(releases::first));
    let old = world.start_named("versioned", "old").await;
    world.recorded("step.a").await;
    world.deploy(2, code!(releases::first, releases::second));
    let new = world.start_named("versioned", "new").await;
    for run in [&old, &new] {
        expect_completed(&world, run).await;
    }
}

/// One run has passed the patch when it is deployed, the other has not.
async fn patched_under_way(world: World) {
    world.worker("worker-1", &["default"]);
    world.deploy(1, code!(patches::before));
    let past = world.start(patches::before, 1, "past").await;
    world.recorded("step.b").await;
    let before = world.start(patches::before, 4, "before").await;
    world.recorded("step.a").await;
    world.deploy(2, code!(patches::after));
    for run in [&past, &before] {
        expect_completed(&world, run).await;
    }
}
