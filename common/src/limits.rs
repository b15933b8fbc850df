//! Every bound of the wire and the journal, with its unit and why it is that number.

use std::time::Duration;

/// A value up to this many bytes stands in the entry or task itself; a larger one goes to the payload stream and is named by
/// its digest. A journal of small entries is read back in one request.
pub const PAYLOAD_INLINE_BYTES_MAX: usize = 256 * 1024;

/// The largest value at all, in bytes: it is held in memory whole by whoever reads it.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One chunk of a stored payload, in bytes: a quarter of the server's default `max_payload`, so that it fits whatever the headers.
pub const PAYLOAD_CHUNK_BYTES: usize = 256 * 1024;

/// Entries in one run's journal; replay cost grows with it. A batch of the largest size fits, each item tried twice, and the workflow
/// round it. Work that needs more is split over several runs.
pub const JOURNAL_ENTRIES_MAX: usize = 25_000;

/// Entries from which on a run's growth is warned about.
pub const JOURNAL_ENTRIES_WARN: usize = 20_000;

/// Items of one batch.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// Items of a batch that run at a time unless the workflow says otherwise: gentle to what they call.
pub const BATCH_CONCURRENCY: usize = 20;

/// Steps of one run that may be open at the same time.
pub const STEPS_IN_FLIGHT_MAX: usize = 1_000;

/// Children of one run that may be open at the same time.
pub const CHILDREN_OPEN_MAX: usize = 1_000;

/// Children nested in one another. A workflow that starts itself without end is stopped here.
pub const CHILD_DEPTH_MAX: u32 = 64;

/// Runs of one chain that whoever follows it goes through: one read each, about two seconds in all.
pub const CHAIN_RUNS_MAX: usize = 10_000;

/// Signals of one run that wait for somebody to take them: what arrives faster than it is taken is held in memory.
pub const SIGNALS_UNREAD_MAX: usize = 2_000;

/// Updates of one run that nobody has taken: what comes beyond that is rejected at once, for somebody waits for each of them.
/// A run whose journal holds such a rejection depends on this number.
pub const UPDATES_UNREAD_MAX: usize = 1_000;

/// How long a caller waits for the answer to an update unless it says otherwise.
pub const UPDATE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// Characters in the name of a workflow, function, step or queue, and in the caller's key of an update.
pub const NAME_CHARS_MAX: usize = 128;

/// Bytes of a step key after escaping; longer ones end in their digest. A subject over 4 KB closes the connection (tried), and on
/// each reconnect again.
pub const KEY_TOKEN_BYTES_MAX: usize = 256;

/// Nesting of arrays and maps in a value.
pub const VALUE_DEPTH_MAX: usize = 64;

/// Bytes of an error message kept in the journal; the rest is cut, the log has it whole.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of what a heartbeat says, kept for the next attempt: it stands in the entry of the attempt that failed, and in the next task.
pub const HEARTBEAT_DETAILS_BYTES_MAX: usize = 16 * 1024;

/// Characters in the name of an error that a retry policy tells from others.
pub const ERROR_NAME_CHARS_MAX: usize = 128;

/// Characters in the id of a patch, so that the key of its marker is a name of at most [`NAME_CHARS_MAX`].
pub const PATCH_ID_CHARS_MAX: usize = 100;

/// Messages in one atomic batch (server limit).
pub const BATCH_MESSAGES_MAX: usize = 1_000;

/// Bytes in one atomic batch of ours, so that a batch stays well below what a server buffers for a connection.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Creates waiting at once from which on they go as one atomic batch: a batch costs about 2 ms on a single node, a lone synced
/// create about 0.2 ms (measured).
pub const BATCH_MESSAGES_MIN: usize = 8;

/// Subjects in one batched direct get (server limit is 1,024).
pub const READ_SUBJECTS_MAX: usize = 1_000;

/// Bytes of a question with all that it shows, which stands in the journal and in every list of what is open.
pub const QUESTION_BYTES_MAX: usize = 256 * 1024;
/// Bytes of what a run holds in `ctx.state()`, names and values together: it stands in memory with the run, and one answer to a query holds it.
pub const STATE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of what a run shows in its view ([`STATE_BYTES_MAX`] and this fit into one message of the server's default size).
pub const VIEW_BYTES_MAX: usize = 256 * 1024;

/// Characters in the id of a session.
pub const SESSION_ID_CHARS_MAX: usize = 256;

/// Characters in the name of a value of a session, so that the key of a step that speaks of it is a name of at most [`NAME_CHARS_MAX`].
pub const SESSION_KEY_CHARS_MAX: usize = 100;

/// Bytes of one value of a session. It is written whole at each change, and its record is one message.
pub const SESSION_VALUE_BYTES_MAX: usize = 256 * 1024;

/// Names that a session may have used. One that was deleted still counts: its record stays.
pub const SESSION_KEYS_MAX: usize = 1_000;

/// Bytes of the result that a mark of a session's record holds itself; a larger one goes to the payload stream under its run.
pub const SESSION_MARK_BYTES_MAX: usize = 1024;

/// Writes of one value whose result no journal holds yet: with the largest value their marks fit into one message.
pub const SESSION_MARKS_MAX: usize = 512;

/// How long after its start a run may begin at the latest, and how long it may be given: more is a mistake in the unit.
pub const RUN_TERM_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a run whose deadline has passed has to clean up before it is ended as it stands.
pub const RUN_GRACE: Duration = Duration::from_secs(60);

/// Runs that are started by one call: their creates go as one atomic batch of each partition.
pub const START_MANY_MAX: usize = 1_000;

/// Places that one limit can give at a time: its record names each, and is one message.
pub const LIMIT_SLOTS_MAX: u32 = 1_000;

/// Keys whose next turn one limit remembers, where keys have a rate: with as many, and its places, its record is still one message. What is of
/// a key beyond them waits until another is forgotten.
pub const LIMIT_KEYS_MAX: usize = 5_000;

/// One place in so many goes to whoever has waited longest, whatever its priority.
pub const LIMIT_AGED_ONE_IN: u64 = 10;

/// Partitions of one deployment; the partition is the first part of each run id.
pub const PARTITIONS_MAX: u32 = 1_024;

/// Nodes that keep one stream (server limit).
pub const REPLICAS_MAX: usize = 5;

/// Bytes of an event's body: with its headers it fits into one message of the server's default size.
pub const EVENT_BYTES_MAX: usize = 768 * 1024;

/// Triggers of one workflow: its registration is one small record, read whenever events have come.
pub const TRIGGERS_MAX: usize = 32;

/// Workflows that listen to something: their registrations are read in one answer.
pub const LISTENING_WORKFLOWS_MAX: usize = 900;

/// Characters of a trigger's filter.
pub const FILTER_CHARS_MAX: usize = 1_024;

/// Nesting of a filter, which is judged by recursion.
pub const FILTER_DEPTH_MAX: usize = 32;

/// Occurrences of a schedule that are made up for after an outage with `misfire = "fire_all"`; of more only the latest ones.
pub const CATCH_UP_MAX: usize = 1_000;

/// Occurrences that one backfill may start.
pub const BACKFILL_MAX: usize = 1_000;

/// Bytes of the path and the value by which a run tells an event that it waits for.
pub const EVENT_MATCH_BYTES_MAX: usize = 1_024;

/// Subscriptions of a run whose place the run that continues it takes over: those that were last waited for.
pub const LISTENED_MAX: usize = 100;

/// Events that one run takes at most from a batch window.
pub const EVENT_BATCH_MAX: u32 = 1_000;

/// The longest batch window: the events of one are kept for seven days ([`EVENT_AGE_MAX`](crate::store::EVENT_AGE_MAX)), and a day of them is
/// left for an outage at its end.
pub const EVENT_WINDOW_MAX: Duration = Duration::from_secs(6 * 24 * 60 * 60);
