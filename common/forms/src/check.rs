//! Whether a value answers a question.

use everstep_common::question::{InputType, Question};
use jsonschema::Validator;
use serde_json::Value;

/// How many things that are wrong with a form are told.
const MISTAKES_TOLD_MAX: usize = 5;

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    /// The form's schema is none.
    #[error("the schema of the form is no JSON Schema: {0}")]
    Schema(String),
    /// There is nothing to choose from.
    #[error("a question whose answer is chosen has options")]
    NoOptions,
    /// Two options cannot be told apart.
    #[error("two options have the id {0:?}")]
    SameOption(String),
}

/// Why a value does not answer its question; for the one who gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

/// Whether a question can be asked at all, so that nobody is asked what no answer fits.
pub fn check_question(question: &Question) -> Result<(), BadQuestion> {
    let choices = question.choices();
    for (place, choice) in choices.iter().enumerate() {
        if choices[..place].iter().any(|earlier| earlier.id == choice.id) {
            return Err(BadQuestion::SameOption(choice.id.clone()));
        }
    }
    match &question.input {
        InputType::Select | InputType::Multiselect if choices.is_empty() && !question.allow_custom => Err(BadQuestion::NoOptions),
        InputType::Form { schema } => validator(schema).map(drop),
        _ => Ok(()),
    }
}

/// Whether `value` is what the question asks for. An approval by hash has no value, and nothing to check here.
pub fn check_answer(question: &Question, value: &Value) -> Result<(), Misfit> {
    match &question.input {
        InputType::Text => text(value).map(drop),
        InputType::Approval | InputType::Select => chosen(question, text(value)?),
        InputType::Multiselect => {
            let Value::Array(items) = value else {
                return Err(Misfit(format!("the answer is an array of options, and not {value}")));
            };
            for (place, item) in items.iter().enumerate() {
                chosen(question, text(item)?)?;
                if items[..place].contains(item) {
                    return Err(Misfit(format!("{item} is chosen twice")));
                }
            }
            Ok(())
        }
        InputType::Form { schema } => {
            let validator = validator(schema).map_err(|error| Misfit(error.to_string()))?;
            fits(&validator, value)
        }
    }
}

fn validator(schema: &str) -> Result<Validator, BadQuestion> {
    let wrong = |error: &dyn std::fmt::Display| BadQuestion::Schema(error.to_string());
    let schema: Value = serde_json::from_str(schema).map_err(|error| wrong(&error))?;
    jsonschema::validator_for(&schema).map_err(|error| wrong(&error))
}

fn fits(validator: &Validator, value: &Value) -> Result<(), Misfit> {
    let told: Vec<String> = validator
        .iter_errors(value)
        .take(MISTAKES_TOLD_MAX)
        .map(|error| match error.instance_path().to_string() {
            path if path.is_empty() => error.to_string(),
            path => format!("{path}: {error}"),
        })
        .collect();
    if told.is_empty() {
        Ok(())
    } else {
        Err(Misfit(told.join("; ")))
    }
}

fn text(value: &Value) -> Result<&str, Misfit> {
    value
        .as_str()
        .ok_or_else(|| Misfit(format!("the answer is a text, and not {value}")))
}

fn chosen(question: &Question, id: &str) -> Result<(), Misfit> {
    let choices = question.choices();
    if question.allow_custom || choices.iter().any(|choice| choice.id == id) {
        return Ok(());
    }
    let ids: Vec<_> = choices.iter().map(|choice| choice.id.as_str()).collect();
    Err(Misfit(format!("{id:?} is not among the options: {}", ids.join(", "))))
}

#[cfg(test)]
mod tests {
    use everstep_common::question::Choice;
    use serde_json::json;

    use super::*;

    fn question(input: InputType, options: &[&str]) -> Question {
        Question {
            input,
            options: options.iter().map(|id| Choice::new(*id, id.to_uppercase())).collect(),
            ..Question::default()
        }
    }

    fn check(question: &Question, fits: &[Value], misfits: &[Value]) {
        assert_eq!(check_question(question), Ok(()));
        for value in fits {
            assert_eq!(check_answer(question, value), Ok(()), "{value}");
        }
        for value in misfits {
            assert!(check_answer(question, value).is_err(), "{value} is taken");
        }
    }

    #[test]
    fn each_sort_of_question_takes_its_own_answers() {
        check(
            &question(InputType::Text, &[]),
            &[json!(""), json!("any")],
            &[json!(1), json!(null), json!(["a"])],
        );
        check(
            &question(InputType::Approval, &[]),
            &[json!("approve"), json!("reject")],
            &[json!("yes"), json!(true)],
        );
        check(
            &question(InputType::Select, &["red", "blue"]),
            &[json!("red")],
            &[json!("RED"), json!("green"), json!(["red"])],
        );
        check(
            &question(InputType::Multiselect, &["red", "blue"]),
            &[json!([]), json!(["blue", "red"])],
            &[json!("red"), json!(["red", "red"]), json!(["green"]), json!([1])],
        );
        let custom = Question {
            allow_custom: true,
            ..question(InputType::Select, &["red"])
        };
        check(&custom, &[json!("green")], &[json!(7)]);
    }

    #[test]
    fn a_form_says_everything_that_is_wrong_and_where() {
        let schema = json!({
            "type": "object",
            "properties": { "cents": { "type": "integer", "minimum": 1 }, "to": { "type": "string" } },
            "required": ["cents", "to"],
            "additionalProperties": false,
        });
        let form = question(
            InputType::Form {
                schema: schema.to_string(),
            },
            &[],
        );
        check(
            &form,
            &[json!({ "cents": 1, "to": "ada" })],
            &[json!({}), json!([]), json!({ "cents": 1, "to": "ada", "x": 1 })],
        );
        let told = check_answer(&form, &json!({ "cents": 0 })).unwrap_err().to_string();
        assert!(
            told.contains("/cents: ") && told.contains("\"to\" is a required property"),
            "{told}"
        );
    }

    #[test]
    fn a_question_that_nothing_answers_is_refused_before_it_is_asked() {
        assert_eq!(check_question(&question(InputType::Select, &[])), Err(BadQuestion::NoOptions));
        assert_eq!(
            check_question(&question(InputType::Select, &["a", "a"])),
            Err(BadQuestion::SameOption("a".into()))
        );
        for schema in ["", "[", "{\"type\":7}", "{\"$ref\":\"https://example.com/schema.json\"}"] {
            let form = InputType::Form { schema: schema.into() };
            let refused = check_question(&question(form, &[]));
            assert!(matches!(refused, Err(BadQuestion::Schema(_))), "{schema}: {refused:?}");
        }
    }
}
