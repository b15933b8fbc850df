use everstep::prelude::*;

#[function]
struct Charge;

#[workflow]
impl Charge {}

fn main() {}
