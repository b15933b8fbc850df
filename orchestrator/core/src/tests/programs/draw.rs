//! Draws a program from dice.

use super::Node;
use crate::tests::kit::Dice;

/// A program drawn from `dice`, of at most that depth.
pub(in crate::tests) fn draw(dice: &mut Dice, depth: usize) -> Node {
    let kinds = if depth == 0 { 8 } else { 29 };
    match dice.below(kinds) {
        1 if dice.one_in(2) => Node::Child(dice.one_in(3)),
        0..=1 => Node::Step(dice.next() % 4),
        2 => Node::Sleep(dice.next() % 5_000),
        3 if dice.one_in(2) => Node::Session,
        3 => Node::Local,
        4 => Node::Chance,
        5 if dice.one_in(2) => Node::Fail,
        5 if dice.one_in(2) => Node::Undoable(dice.next() % 4),
        5 => Node::Step(4),
        6 if dice.one_in(3) => Node::Event(dice.next() % 3, deadline(dice)),
        6 if dice.one_in(2) => Node::Update(dice.next() % 3, deadline(dice)),
        6 => Node::Signal(dice.next() % 3, deadline(dice)),
        7 => Node::Ask(1 + dice.below(3) as u32, deadline(dice)),
        8 => Node::Sequence(several(dice, depth)),
        9 => Node::Join(several(dice, depth)),
        10 => Node::Race(several(dice, depth)),
        11 => Node::Unordered(several(dice, depth)),
        12 => Node::Windowed(several(dice, depth)),
        13 => Node::Scope(["left", "right"][dice.below(2)], Box::new(draw(dice, depth - 1))),
        14 => Node::Repeat(1 + dice.next() % 3, Box::new(draw(dice, depth - 1))),
        15 if dice.one_in(2) => Node::Paced(dice.next() % 4),
        15 => Node::Patched(
            dice.next() % 5,
            Box::new(draw(dice, depth - 1)),
            Box::new(draw(dice, depth - 1)),
        ),
        16 | 17 => Node::Fan {
            nodes: several(dice, depth),
            window: 1 + dice.below(4),
            tolerated: dice.below(3),
        },
        18 | 19 => Node::First(several(dice, depth)),
        20 => Node::Timeout(dice.next() % 5_000, Box::new(draw(dice, depth - 1))),
        21 => Node::Shield(Box::new(draw(dice, depth - 1))),
        22 | 23 => Node::CleanUp(Box::new(draw(dice, depth - 1)), Box::new(draw(dice, depth - 1))),
        24 => Node::Caught(Box::new(draw(dice, depth - 1))),
        25 => Node::Batch {
            items: dice.next() % 9,
            window: 1 + dice.below(4),
            tolerated: dice.below(4),
        },
        26 if dice.one_in(2) => Node::Served(dice.next() % 3, Box::new(draw(dice, depth - 1))),
        26 => Node::Unread(dice.next() % 3, Box::new(draw(dice, depth - 1))),
        27 if dice.one_in(3) => Node::Rollback,
        27 => Node::Undoable(dice.next() % 4),
        _ => Node::Branch(Box::new(draw(dice, depth - 1)), Box::new(draw(dice, depth - 1))),
    }
}

fn deadline(dice: &mut Dice) -> Option<u64> {
    let milliseconds = dice.next() % 5_000;
    dice.one_in(2).then_some(milliseconds)
}

fn several(dice: &mut Dice, depth: usize) -> Vec<Node> {
    (0..2 + dice.below(3)).map(|_| draw(dice, depth - 1)).collect()
}
