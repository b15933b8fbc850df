//! What is due: times of schedules, ends of windows.

use everstep_common::ports::{Ack, Delivery};

use super::router::{Router, Stop};
use super::{PAUSE, windows};

impl Router<'_> {
    pub(super) async fn due(&mut self, due: Vec<Delivery>) -> Result<(), Stop> {
        self.tend_what_fired(&due).await?;
        // Asked for once for all windows that are due.
        let mut last_message = None;
        for delivery in due {
            let key = self.key_of(&delivery);
            let is_done = match sort(&key) {
                "schedule" => true,
                "window" => self.close(&key, &delivery, &mut last_message).await?,
                _ => {
                    tracing::warn!(
                        subject = delivery.subject,
                        "nobody here knows what this is for; it is dropped"
                    );
                    true
                }
            };
            let answer = if is_done { Ack::Done } else { Ack::Retry(PAUSE) };
            self.store.broker().ack(&delivery.ack, answer);
        }
        Ok(())
    }

    /// Schedules are looked at once for all that has come, as of the latest of it: whatever was due then is.
    async fn tend_what_fired(&mut self, due: &[Delivery]) -> Result<(), Stop> {
        let mut any = false;
        for delivery in due {
            self.note(delivery.time);
            let key = self.key_of(delivery);
            if sort(&key) == "schedule" {
                self.schedules.fired(&key);
                any = true;
            }
        }
        if any { self.tend().await } else { Ok(()) }
    }

    /// Closes a window, if every event that was stored before its end has been taken up. Those are all events that there are when the end is
    /// first heard of: it is due a moment later.
    async fn close(&mut self, key: &str, delivery: &Delivery, last_message: &mut Option<u64>) -> Result<bool, Stop> {
        let last = match self.closing.get(key).copied().or(*last_message) {
            Some(last) => last,
            None => *last_message.insert(self.last_message().await?),
        };
        if self.looked_at < last {
            self.closing.insert(key.to_owned(), last);
            return Ok(false);
        }
        windows::close(self.store, delivery).await?;
        self.closing.remove(key);
        Ok(true)
    }

    fn key_of(&self, delivery: &Delivery) -> String {
        self.store.names().parse_due(&delivery.subject).unwrap_or_default().to_owned()
    }
}

/// What a key is for.
fn sort(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}
