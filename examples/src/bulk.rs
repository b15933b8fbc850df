//! Bulk work: many documents, twenty at a time; a document that fails is counted and fails nothing else.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// A document that was processed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Which one.
    pub id: String,
    /// How many words it has.
    pub words: usize,
}

/// How many documents were processed, and how many failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processed {
    /// Those that were processed.
    pub processed: usize,
    /// Those that failed.
    pub failed: usize,
}

/// Processes one document.
#[function(retries(max_attempts = 3, initial = "1s", max = "10s"))]
pub async fn process_document(_ctx: FunctionContext, id: String) -> Result<Document, StepError> {
    if id.is_empty() {
        return Err(StepError::fatal("a document without an id"));
    }
    let words = id.split(' ').count();
    Ok(Document { id, words })
}

/// Processes all documents, twenty at a time, whatever becomes of each.
#[workflow]
pub async fn bulk_processor(ctx: WorkflowContext, ids: Vec<String>) -> Result<Processed, WorkflowError> {
    let result = ctx.batch(process_document, ids).max_concurrency(20).await?;
    Ok(Processed {
        processed: result.stats.completed,
        failed: result.stats.failed,
    })
}

/// Counts the words of all documents; one that fails is an error.
#[workflow]
pub async fn word_count(ctx: WorkflowContext, ids: Vec<String>) -> Result<usize, WorkflowError> {
    let documents = ctx.map(process_document, ids).await?;
    Ok(documents.iter().map(|document| document.words).sum())
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(bulk_processor)
        .workflow(word_count)
        .function(process_document)
}
