//! Which question a name means, and what whoever answers is told of one that is over.

use everstep::journal::{Entry, EntryKey, Inbound, InboundKind, Local, LocalKind, StepResult};
use everstep::{Client, ClientError, RunId};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::{Question, answer_slot};
use everstep_common::wire::encode_value;
use everstep_memory::Nodes;

use crate::bench::{Bench, for_seeds, write};

/// A question as its run's owner records it.
fn asked(path: &str) -> (EntryKey, Entry) {
    let question = Question {
        text: "Which?".to_owned(),
        ..Question::default()
    };
    let value = encode_value(&question).expect("a question is encoded");
    let entry = Entry::Local(Local {
        kind: LocalKind::Question,
        result: StepResult::Value(Payload::Inline(value)),
    });
    (EntryKey::Local(StepKey::from_path(path)), entry)
}

/// That its owner no longer asks it.
fn withdrawn(path: &str) -> (EntryKey, Entry) {
    let wait = StepKey::from_path(path);
    let entry = Entry::In(Inbound {
        kind: InboundKind::Withdrawn { wait: wait.clone() },
        by: None,
        reason: None,
    });
    (EntryKey::In(answer_slot(&wait)), entry)
}

/// A run that has asked these questions.
fn with_questions(paths: &'static [&'static str], test: impl AsyncFn(Client, RunId)) {
    for_seeds(1, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let run = client.start_named("order", None, &().into()).await.unwrap().id().clone();
        write(&client, &run, paths.iter().copied().map(asked)).await;
        test(client, run).await;
    });
}

async fn open(client: &Client, run: &RunId) -> Vec<String> {
    let open = client.questions(run).await.unwrap();
    open.into_iter().map(|question| question.wait).collect()
}

#[test]
fn a_question_in_a_block_is_answered_by_the_end_of_its_name_if_that_is_enough() {
    with_questions(&["parallel/0/colour", "parallel/1/size"], async |client, run| {
        assert_eq!(client.question(&run, "size").await.unwrap().wait, "parallel/1/size");
        client.answer(&run, "size", "large", "ada").await.unwrap();
        client.answer(&run, "size", "large", "ada").await.unwrap();
        assert_eq!(open(&client, &run).await, ["parallel/0/colour"]);
        client.answer(&run, "parallel/0/colour", "blue", "ada").await.unwrap();
        let unknown = client.answer(&run, "our", "blue", "ada").await;
        assert!(matches!(unknown, Err(ClientError::NoQuestion { .. })), "{unknown:?}");
    });
}

#[test]
fn a_name_that_means_several_questions_answers_none_also_when_one_is_over() {
    with_questions(&["parallel/0/colour", "parallel/1/colour"], async |client, run| {
        let names = async || match client.answer(&run, "colour", "blue", "ada").await {
            Err(ClientError::Ambiguous { names, .. }) => names,
            other => panic!("{other:?}"),
        };
        assert_eq!(names().await, ["parallel/0/colour", "parallel/1/colour"]);
        assert_eq!(open(&client, &run).await.len(), 2);
        client.answer(&run, "parallel/0/colour", "blue", "ada").await.unwrap();
        // Said again after a lost acknowledgement it must not reach the other one.
        assert_eq!(names().await, ["parallel/0/colour", "parallel/1/colour"]);
        assert_eq!(open(&client, &run).await, ["parallel/1/colour"]);
    });
}

#[test]
fn a_whole_name_means_its_question_whatever_others_are_called() {
    with_questions(&["colour", "race/0/colour", "colour~2"], async |client, run| {
        client.answer(&run, "colour", "blue", "ada").await.unwrap();
        assert_eq!(open(&client, &run).await, ["race/0/colour", "colour~2"]);
        client.answer(&run, "colour~2", "red", "ada").await.unwrap();
        assert_eq!(open(&client, &run).await, ["race/0/colour"]);
    });
}

#[test]
fn an_answer_to_what_a_cancelled_branch_asked_is_refused() {
    with_questions(&["race/0/colour", "race/1/size"], async |client, run| {
        write(&client, &run, [withdrawn("race/0/colour")]).await;
        assert_eq!(open(&client, &run).await, ["race/1/size"]);
        for name in ["race/0/colour", "colour"] {
            let late = client.answer(&run, name, "blue", "ada").await;
            assert!(matches!(late, Err(ClientError::Withdrawn { .. })), "{late:?}");
            let told = late.unwrap_err().to_string();
            assert_eq!(told, format!("run {run} no longer asks race/0/colour"));
        }
        let looked_at = client.question(&run, "colour").await;
        assert!(matches!(looked_at, Err(ClientError::Withdrawn { .. })), "{looked_at:?}");
    });
}
