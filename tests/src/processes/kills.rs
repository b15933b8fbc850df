//! Kills under load: the tests that every story of them is told in, and when the next victim dies.

use super::fleet::{Fleet, Seed, Victim};
use super::until;

/// A test for each sort of victim: `survives`, which is told by a function who dies next, passes. The usual three, or those that are named.
#[macro_export]
macro_rules! kills_change_nothing {
    (@workers $survives:path) => {
        $crate::kills_change_nothing!(@test kills_of_workers_change_nothing, $survives, [Worker]);
    };
    (@orchestrators $survives:path) => {
        $crate::kills_change_nothing!(@test kills_of_orchestrators_change_nothing, $survives, [Orchestrator]);
    };
    (@the_server $survives:path) => {
        $crate::kills_change_nothing!(@test kills_of_the_server_change_nothing, $survives, [Server]);
    };
    (@the_server_and_orchestrators $survives:path) => {
        $crate::kills_change_nothing!(
            @test kills_of_the_server_and_orchestrators_change_nothing, $survives, [Server, Orchestrator]
        );
    };
    (@anybody $survives:path) => {
        $crate::kills_change_nothing!(@test kills_of_anybody_change_nothing, $survives, [Worker, Orchestrator, Server]);
    };
    (@test $test:ident, $survives:path, [$($victim:ident),+]) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $survives(|seed| seed.one_of(&[$($crate::processes::Victim::$victim),+])).await;
        }
    };
    ($survives:path) => {
        $crate::kills_change_nothing!($survives, workers, orchestrators, the_server);
    };
    ($survives:path, $($victims:ident),+) => {
        $($crate::kills_change_nothing!(@$victims $survives);)+
    };
}

impl Fleet {
    /// So many kills, one after the other, while runs make `all` mutations: the next victim dies when work has gone on, or is done.
    ///
    /// # Panics
    ///
    /// If a process cannot be killed or started, or work does not go on.
    pub async fn kill_as_work_goes_on(&mut self, kills: usize, all: usize, mut victim: impl FnMut(&mut Seed) -> Victim) {
        let mut seed = Seed::from_environment();
        for kill in 0..kills {
            let before = self.ledger.mutations();
            self.kill(victim(&mut seed), &mut seed).await.expect("a kill");
            until(&format!("progress after kill {kill}"), async || {
                let mutations = self.ledger.mutations();
                mutations == all || mutations >= before + all / (2 * kills)
            })
            .await;
        }
    }

    /// One kill, as soon as there have been so many mutations.
    ///
    /// # Panics
    ///
    /// If a process cannot be killed or started, or work does not go on.
    pub async fn kill_at(&mut self, mutations: usize, victim: Victim, seed: &mut Seed) {
        until(&format!("{mutations} mutations before a kill"), async || {
            self.ledger.mutations() >= mutations
        })
        .await;
        self.kill(victim, seed).await.expect("a kill");
    }
}
