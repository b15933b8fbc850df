//! Replays a workflow future against its journal and says what to do next.
