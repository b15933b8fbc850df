//! A simulated server with one run and one queue, workers on it, and what tests ask of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::ids::{FunctionName, Partition, Prefix, ProcessId, QueueName, RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Start, StepOutcome, StepResult};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::ports::Clock;
use everstep_common::store::{Deployment, Store};
use everstep_common::task::Task;
use everstep_common::wire;
use everstep_memory::{Faults, MemoryServer, Nodes};
use everstep_worker::{FunctionContext, Functions, Options, Resources, StepError, Worker};
use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything may take, in simulated time.
const DEADLINE: Duration = Duration::from_secs(600);

/// A server, and the owner's handle on it.
pub(crate) struct Bench {
    pub(crate) server: MemoryServer,
    pub(crate) owner: Store,
    pub(crate) run: RunId,
}

/// A worker under way.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    /// Tells it to stop, without waiting.
    pub(crate) fn begin_to_stop(self) -> JoinHandle<()> {
        self.stop.send(()).expect("the worker still runs");
        self.ended
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.begin_to_stop().await.expect("the worker does not panic");
    }

    /// Drops its future.
    pub(crate) async fn abort(self) {
        self.ended.abort();
        assert!(self.ended.await.is_err_and(|error| error.is_cancelled()));
    }
}

pub(crate) fn queue() -> QueueName {
    QueueName::default_queue()
}

pub(crate) fn key(path: &str) -> StepKey {
    StepKey::from_path(path)
}

impl Bench {
    /// A server without faults, a run and its queue.
    pub(crate) async fn new() -> Self {
        Self::on(MemoryServer::start(Nodes::One, 1, Faults::none())).await
    }

    pub(crate) async fn on(server: MemoryServer) -> Self {
        let owner = store(&server, "owner");
        owner
            .deployment()
            .provision(owner.broker(), owner.clock().as_ref())
            .await
            .expect("provisioned");
        owner.ensure_queue(&queue()).await.expect("a queue");
        let run: RunId = "0-0123456789abcdef0123456789abcdef".parse().expect("a run id");
        let start = Start {
            workflow: WorkflowName::new("order").expect("a name"),
            version: None,
            input: Payload::unit(),
            digest: InputDigest::of(b""),
            start_key: None,
            session: None,
            parent: None,
            tags: Default::default(),
            traceparent: None,
            terms: Default::default(),
            continues: None,
            listens_from: None,
            listened: Vec::new(),
        };
        owner
            .create(&run, EntryKey::Start, &Entry::Start(start))
            .await
            .expect("started");
        Self { server, owner, run }
    }

    /// The task of the first attempt of a step.
    pub(crate) fn task(&self, function: &str, path: &str) -> Task {
        Task {
            run: self.run.clone(),
            key: key(path),
            attempt: 1,
            function: FunctionName::new(function).expect("a name"),
            input: Payload::Inline(Bytes::from_static(b"\x07")),
            digest: InputDigest::of(b"\x07"),
            timeout: None,
            heartbeat_timeout: None,
            details: None,
            announce: false,
            deadline: Timestamp::MAX,
            at_most_once: false,
            check: false,
            traceparent: None,
        }
    }

    pub(crate) async fn queue(&self, task: &Task) {
        self.owner.publish_task(&queue(), task).await.expect("queued");
    }

    pub(crate) async fn queue_step(&self, function: &str, path: &str) {
        self.queue(&self.task(function, path)).await;
    }

    /// The same, of a function that may begin once only.
    pub(crate) async fn queue_once(&self, function: &str, path: &str) {
        let task = Task {
            at_most_once: true,
            ..self.task(function, path)
        };
        self.queue(&task).await;
    }

    pub(crate) async fn record(&self, key: EntryKey, entry: Entry) {
        self.owner.create(&self.run, key, &entry).await.expect("recorded");
    }

    /// The outcome of a step, recorded by somebody else.
    pub(crate) async fn record_value(&self, path: &str, value: &[u8]) {
        let outcome = StepOutcome {
            function: FunctionName::new("other").expect("a name"),
            digest: InputDigest::of(b"\x07"),
            result: StepResult::Value(Payload::Inline(Bytes::copy_from_slice(value))),
            attempt: 1,
            by: ProcessId::new("somebody").expect("an id"),
            began: None,
        };
        self.record(EntryKey::Step(key(path)), Entry::Step(outcome)).await;
    }

    /// A worker of the default queue with these functions.
    pub(crate) fn worker(&self, functions: Functions) -> Running {
        self.worker_with("worker", functions, |_| {})
    }

    pub(crate) fn worker_with(&self, name: &str, functions: Functions, set: impl FnOnce(&mut Options)) -> Running {
        let mut options = Options::new(ProcessId::new(name).expect("an id"));
        set(&mut options);
        let mut resources = Resources::new();
        resources.insert("a resource".to_owned()).unwrap();
        let worker = Worker::new(store(&self.server, name), functions, resources, options);
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            worker.run(stopped.map(drop)).await.expect("the options are fine");
        });
        Running { stop, ended }
    }

    /// A worker that has begun the queued task of `f`, which takes that long; and how often `f` has begun.
    pub(crate) async fn busy(&self, name: &str, takes: Duration) -> (Running, Counter) {
        let calls = Counter::default();
        let worker = self.worker_with(name, slow(&self.server, takes, calls.clone()), |_| {});
        self.until("it runs", || calls.get() == 1).await;
        (worker, calls)
    }

    /// The run's entries but `start`, in order.
    pub(crate) fn journal(&self) -> Vec<(String, Entry)> {
        let messages = self.server.messages(&self.owner.names().journal_stream(Partition(0)));
        let entries = messages
            .into_iter()
            .map(|message| self.owner.decode_entry(&self.run, message).expect("an entry"));
        entries
            .filter(|entry| entry.key != EntryKey::Start)
            .map(|entry| (entry.key.to_string(), entry.entry))
            .collect()
    }

    /// What those entries are called.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.journal().into_iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        self.journal()
            .into_iter()
            .find(|(name, _)| name == key)
            .map(|(_, entry)| entry)
    }

    /// The outcome of a step, once it has one.
    pub(crate) async fn outcome(&self, path: &str) -> StepOutcome {
        let name = EntryKey::Step(key(path)).to_string();
        self.until(&format!("{name} is recorded"), || self.entry(&name).is_some())
            .await;
        match self.entry(&name) {
            Some(Entry::Step(outcome)) => outcome,
            entry => panic!("{name} holds {entry:?}"),
        }
    }

    /// How many tasks the queue holds, running ones included.
    pub(crate) fn queued(&self) -> usize {
        self.queued_in(&queue())
    }

    pub(crate) fn queued_in(&self, queue: &QueueName) -> usize {
        let messages = self.server.messages(&self.owner.names().task_stream(queue));
        messages.iter().filter(|message| message.subject.contains("task.")).count()
    }

    /// Waits until the queue is empty.
    pub(crate) async fn drained(&self) {
        self.until("the queue is empty", || self.queued() == 0).await;
    }

    /// Waits for a condition, in simulated time.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let clock = self.server.clock();
        let begin = clock.now();
        while !reached() {
            let waited = clock.now().since(begin);
            assert!(
                waited < DEADLINE,
                "not within {DEADLINE:?}: {what}\n{}",
                self.server.history()
            );
            clock.sleep((waited / 100).max(Duration::from_millis(1))).await;
        }
    }

    /// Lets simulated time pass; to show that something does not happen.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.server.clock().sleep(duration).await;
    }

    pub(crate) fn now(&self) -> Duration {
        self.server.clock().now().0
    }

    /// How often the history has a line with all of these words in this order.
    pub(crate) fn happened(&self, words: &[&str]) -> usize {
        let has_all = |line: &str| {
            let mut rest = line;
            words
                .iter()
                .all(|word| rest.split_once(word).map(|(_, after)| rest = after).is_some())
        };
        self.server.history().lines().filter(|line| has_all(line)).count()
    }

    /// A task straight from bytes, under any subject of the queue.
    pub(crate) async fn publish_raw(&self, subject: &str, body: impl Into<Bytes>) {
        let publish = everstep_common::ports::Publish::new(subject, body.into());
        self.owner.broker().publish(publish).await.expect("stored");
    }
}

/// A process's own handle on the deployment.
pub(crate) fn store(server: &MemoryServer, name: &str) -> Store {
    let client = server.connect(name);
    let clock = client.clock();
    let (store, driver) = Store::new(Arc::new(client), Arc::new(clock), Deployment::single_node(Prefix::none()));
    tokio::spawn(driver);
    store
}

/// Functions that are made where they are used.
#[derive(Default)]
pub(crate) struct Registry(pub(crate) Functions);

impl Registry {
    pub(crate) fn with<F, R>(mut self, name: &str, function: F) -> Self
    where
        F: Fn(FunctionContext, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, StepError>> + Send + 'static,
    {
        let name = FunctionName::new(name).expect("a name");
        let handler = Arc::new(move |context, input| function(context, input).boxed());
        self.0.register(name, handler).expect("registered once");
        self
    }
}

/// One function, called `f`.
pub(crate) fn function<F, R>(function: F) -> Functions
where
    F: Fn(FunctionContext, Bytes) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Bytes, StepError>> + Send + 'static,
{
    Registry::default().with("f", function).0
}

/// A function that returns its input.
pub(crate) fn echo() -> Functions {
    function(|_, input| async move { Ok(input) })
}

/// Counts.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicUsize>);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// What functions tell the test.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("no panic").push(note.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

/// Tells when it is dropped.
pub(crate) struct Dropped(pub(crate) Notes);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

/// A function that waits that long, and then returns its input.
pub(crate) fn slow(server: &MemoryServer, duration: Duration, started: Counter) -> Functions {
    let server = server.clone();
    function(move |_, input| {
        started.add();
        let sleep = server.clock().sleep(duration);
        async move {
            sleep.await;
            Ok(input)
        }
    })
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
    wire::decode(bytes).expect("a wire value")
}
