//! kill -9 among the example programs: whoever dies, each run records and returns what a run records and returns that nobody disturbs.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use everstep::journal::{EntryKey, JournalEntry};
use everstep::{Client, IntoWorkflow, RunError, Workflow};
use everstep_examples::trip::Trip;
use everstep_examples::{account, bulk, dashboard, fleet, notify, order, payment, report, stateful, trip, welcome};
use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, soon_followed_up, until};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join, join_all};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

/// Kills in each test; around each of them, every program runs once.
const KILLS: u64 = 6;

/// What a run recorded and how it ended.
type Story = Vec<String>;

/// A run of each program, by its name.
fn all<'a>(client: &'a Client, wave: &'a str) -> Vec<(&'static str, LocalBoxFuture<'a, Story>)> {
    let documents = || ["one word", "", "three words here"].map(str::to_owned).to_vec();
    let fine = || ["a b", "c d e"].map(str::to_owned).to_vec();
    let id = || "42".to_owned();
    let intent = || payment::PaymentIntent {
        amount: 4_200,
        currency: "eur".to_owned(),
    };
    let run = |name| (client, wave, name);
    vec![
        ("order", story(run("order"), order::order_workflow, id()).boxed_local()),
        (
            "invalid order",
            story(run("invalid order"), order::order_workflow, "invalid".to_owned()).boxed_local(),
        ),
        (
            "account",
            story(run("account"), account::onboarding_workflow, id()).boxed_local(),
        ),
        ("notify", story(run("notify"), notify::notify_workflow, id()).boxed_local()),
        ("report", story(run("report"), report::report_workflow, id()).boxed_local()),
        (
            "dashboard",
            story(run("dashboard"), dashboard::dashboard_workflow, ()).boxed_local(),
        ),
        ("bulk", story(run("bulk"), bulk::bulk_processor, documents()).boxed_local()),
        ("words", story(run("words"), bulk::word_count, fine()).boxed_local()),
        ("follow-up", story(run("follow-up"), soon_followed_up, id()).boxed_local()),
        (
            "welcome",
            story(run("welcome"), welcome::welcome_workflow, id()).boxed_local(),
        ),
        (
            "payment",
            story(run("payment"), payment::payment_workflow, intent()).boxed_local(),
        ),
        (
            "stateful",
            story(run("stateful"), stateful::stateful_workflow, id()).boxed_local(),
        ),
        ("van", story(run("van"), fleet::van, (1, 2, 0)).boxed_local()),
        (
            "trip",
            story(run("trip"), trip::trip_workflow, Trip::new("ada", 100_000)).boxed_local(),
        ),
        (
            "unpaid trip",
            story(run("unpaid trip"), trip::trip_workflow, Trip::new("ada", 10)).boxed_local(),
        ),
    ]
}

/// Starts a run, however often that has to be asked for, and follows it to its end.
async fn story<W, Marker>(run: (&Client, &str, &str), workflow: W, input: <W::Workflow as Workflow>::Input) -> Story
where
    W: IntoWorkflow<Marker> + Copy,
    <W::Workflow as Workflow>::Input: Clone,
    <W::Workflow as Workflow>::Output: std::fmt::Debug,
{
    let (client, wave, name) = run;
    loop {
        let start = client.start(workflow, input.clone()).session(wave);
        let handle = match start.key(format!("{wave} {name}")).await {
            Ok(handle) => handle,
            Err(error) => {
                eprintln!("starting {name} again: {error}");
                continue;
            }
        };
        let run = handle.id().clone();
        let returned = match handle.result().await {
            Err(RunError::Client(error)) => {
                eprintln!("asking for {name} again: {error}");
                continue;
            }
            Ok(value) => format!("returned {value:?}"),
            Err(error) => format!("failed: {error}"),
        };
        let journal = whole_journal(client, &run).await;
        let mut story: Story = journal.iter().filter_map(recorded).collect();
        story.sort();
        story.push(returned.replace(run.as_str(), "RUN"));
        return story;
    }
}

async fn whole_journal(client: &Client, run: &everstep::RunId) -> Vec<JournalEntry> {
    loop {
        match client.history(run).await {
            Ok(journal) => return journal,
            Err(error) => eprintln!("reading {run} again: {error}"),
        }
    }
}

/// The keys of what is recorded once, whoever dies. How often something was tried is not among it.
fn recorded(entry: &JournalEntry) -> Option<String> {
    match entry.key {
        EntryKey::Step(_) | EntryKey::Timer(_) | EntryKey::Local(_) | EntryKey::Child(_) | EntryKey::End => {
            Some(entry.key.to_string())
        }
        _ => None,
    }
}

/// Each program once; counts those that ended.
async fn play(client: &Client, wave: &str, ended: &AtomicUsize) -> Vec<(&'static str, Story)> {
    let counted = all(client, wave).into_iter().map(|(name, story)| async move {
        let story = tokio::time::timeout(DEADLINE, story).await;
        ended.fetch_add(1, Ordering::Relaxed);
        (name, story.unwrap_or_else(|_| panic!("{name} is lost")))
    });
    join_all(counted).await
}

async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    let client = fleet.client.clone();
    let undisturbed = play(&client, "undisturbed", &AtomicUsize::new(0)).await;
    for kill in 0..KILLS {
        let ended = AtomicUsize::new(0);
        let goal = seed.below(undisturbed.len() as u64) as usize;
        let death = async {
            until("progress before a kill", async || ended.load(Ordering::Relaxed) >= goal).await;
            fleet.kill(victim(&mut seed), &mut seed).await.expect("a kill");
        };
        let wave = format!("wave-{kill}");
        let (told, ()) = join(play(&client, &wave, &ended), death).await;
        assert_eq!(told, undisturbed, "around kill {kill}");
    }
    let orders = 1 + KILLS as usize;
    assert_eq!(fleet.ledger.mutations_of("payment"), orders, "one for each valid order");
}

everstep_tests::kills_change_nothing!(survives);
