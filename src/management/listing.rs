//! Lists: which of the rows, in which order, with which columns. Rows are made a few at a time, when they are sent.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::management::answer::{Answer, Sink};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::pattern::Pattern;

/// Rows of a page if the request does not say.
const PAGE_SIZE: usize = 100;

/// Most rows of a page.
const MOST_OF_PAGE: usize = 500;

/// Most columns that rows are sorted by.
const MOST_KEYS: usize = 4;

/// The longest pattern of names, in bytes.
const LONGEST_PATTERN: usize = 1024;

/// Rows that are made together, where that is cheaper than one at a time.
const AT_ONCE: usize = 64;

/// Makes the rows of some things, in their order; there is none for what is gone.
type Make<T> = Box<dyn Fn(&[T]) -> Vec<Option<Value>> + Send>;

/// What a list is made of: things that are cheap to have all of, and the row of each.
pub(crate) struct Rows<T> {
    items: Vec<T>,
    name: fn(&T) -> &str,
    make: Make<T>,
}

impl<T> Rows<T> {
    /// Rows in the order in which they are listed unless something else is asked for.
    pub(crate) fn new(
        items: Vec<T>,
        name: fn(&T) -> &str,
        row: impl Fn(&T) -> Value + Send + 'static,
    ) -> Self {
        Self::together(items, name, move |items| items.iter().map(|item| Some(row(item))).collect())
    }

    /// The same, with a function that makes the rows of several things at once, and none for what is gone.
    pub(crate) fn together(
        items: Vec<T>,
        name: fn(&T) -> &str,
        make: impl Fn(&[T]) -> Vec<Option<Value>> + Send + 'static,
    ) -> Self {
        Self { items, name, make: Box::new(make) }
    }

    /// The rows of these things.
    fn made<'a>(&'a self, items: &'a [T]) -> impl Iterator<Item = Value> + 'a {
        items.chunks(AT_ONCE).flat_map(|items| (self.make)(items)).flatten()
    }
}

/// A list of which there are no pages, as in RabbitMQ: always a plain array.
pub(crate) fn array<T: Send + 'static>(call: &Call, rows: Rows<T>) -> Answer {
    let (columns, order) = (Columns::of(&call.query), Order::of(&call.query));
    Answer::stream(move |sink| {
        let rows = order.applied(rows);
        write_array(sink, rows.made(&rows.items).map(|row| columns.of_row(row)));
    })
}

/// A list, as the query wants it: a plain array, or a page of it.
///
/// # Errors
/// If the query asks for what there is not.
pub(crate) fn list<T: Send + 'static>(call: &Call, rows: Rows<T>) -> Result<Answer, ApiError> {
    let Some(page) = Page::of(&call.query)? else { return Ok(array(call, rows)) };
    let (columns, order) = (Columns::of(&call.query), Order::of(&call.query));
    let total = rows.items.len();
    let mut rows = rows;
    if let Some(filter) = &page.filter {
        rows.items.retain(|item| filter.lets((rows.name)(item)));
    }
    let filtered = rows.items.len();
    let (begin, end) = page.range(filtered)?;
    let rows = order.applied(rows);
    let page_of = rows.items.get(begin..end).unwrap_or_default();
    let items: Vec<Value> = rows.made(page_of).map(|row| columns.of_row(row)).collect();
    Ok(Answer::Json(json!({
        "filtered_count": filtered,
        "item_count": items.len(),
        "items": items,
        "page": page.number,
        "page_count": filtered.div_ceil(page.size),
        "page_size": page.size,
        "total_count": total,
    })))
}

/// One object, with the columns that the query wants.
pub(crate) fn single(call: &Call, object: Value) -> Answer {
    Answer::Json(Columns::of(&call.query).of_row(object))
}

fn write_array(sink: &mut Sink, rows: impl Iterator<Item = Value>) {
    sink.text("[");
    for (index, row) in rows.enumerate() {
        if !sink.is_open() {
            return;
        }
        if index > 0 {
            sink.text(",");
        }
        sink.value(&row);
    }
    sink.text("]");
}

/// The parts of rows that are wanted, as paths of keys; all of them if there are none.
#[derive(Debug, Default)]
struct Columns(Vec<Vec<String>>);

impl Columns {
    fn of(query: &Query) -> Self {
        let words = query.all("columns").flat_map(|text| text.split(',')).filter(|word| !word.is_empty());
        Self(words.map(path).collect())
    }

    fn of_row(&self, row: Value) -> Value {
        if self.0.is_empty() {
            return row;
        }
        let mut kept = Map::new();
        for path in &self.0 {
            keep(&mut kept, &row, path);
        }
        Value::Object(kept)
    }
}

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

fn found<'a>(row: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(row, |value, key| value.get(key))
}

/// Takes over what lies at a path; of a list on the way that part of each of its objects.
fn keep(kept: &mut Map<String, Value>, row: &Value, path: &[String]) {
    let [key, rest @ ..] = path else { return };
    match row.get(key) {
        None => {}
        Some(value) if rest.is_empty() => {
            kept.insert(key.clone(), value.clone());
        }
        Some(Value::Array(rows)) => {
            let part = |row: &Value| {
                let mut kept = Map::new();
                keep(&mut kept, row, rest);
                Value::Object(kept)
            };
            kept.insert(key.clone(), rows.iter().map(part).collect());
        }
        Some(value) => {
            let inner = kept.entry(key.clone()).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                keep(inner, value, rest);
            }
        }
    }
}

/// What rows are sorted by.
#[derive(Debug, Default)]
struct Order {
    by: Vec<Vec<String>>,
    is_reverse: bool,
}

impl Order {
    fn of(query: &Query) -> Self {
        let by = query.all("sort").filter(|word| !word.is_empty()).take(MOST_KEYS).map(path).collect();
        Self { by, is_reverse: query.is_true("sort_reverse") }
    }

    /// The rows in this order. Unless it is by name each row is made for it once, of which only the keys are kept.
    fn applied<T>(&self, mut rows: Rows<T>) -> Rows<T> {
        let by_name = self.by.len() == 1 && self.by.iter().flatten().eq(["name"]);
        if by_name {
            let name = rows.name;
            rows.items.sort_by(|a, b| name(a).cmp(name(b)));
        } else if !self.by.is_empty() {
            let keys_of = |row: Option<Value>| -> Vec<Value> {
                let key = |path: &Vec<String>| found(row.as_ref()?, path).map(key_of);
                self.by.iter().map(|path| key(path).unwrap_or_default()).collect()
            };
            let chunks = rows.items.chunks(AT_ONCE);
            let keys: Vec<_> = chunks.flat_map(|items| (rows.make)(items)).map(keys_of).collect();
            let mut keyed: Vec<_> = keys.into_iter().zip(rows.items).collect();
            keyed.sort_by(|(a, _), (b, _)| compare_all(a, b));
            rows.items = keyed.into_iter().map(|(_, item)| item).collect();
        }
        if self.is_reverse {
            rows.items.reverse();
        }
        rows
    }
}

/// What is kept of a value to sort by: of lists and objects no more than that they are some.
fn key_of(value: &Value) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) => Value::Array(Vec::new()),
        plain => plain.clone(),
    }
}

fn compare_all(a: &[Value], b: &[Value]) -> Ordering {
    let each = a.iter().zip(b).map(|(a, b)| compare(a, b));
    each.fold(Ordering::Equal, Ordering::then)
}

/// What is missing comes first, then numbers, words, and everything else.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Number(_) => 1,
        Value::Bool(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    }
}

/// A page of a list.
#[derive(Debug)]
struct Page {
    number: usize,
    size: usize,
    filter: Option<Filter>,
}

impl Page {
    /// The page that is asked for, if one is.
    fn of(query: &Query) -> Result<Option<Self>, ApiError> {
        let Some(number) = query.get("page") else { return Ok(None) };
        let invalid = || ApiError::bad("Pagination parameters are invalid");
        let number: i64 = number.parse().map_err(|_| invalid())?;
        let said: Option<i64> = query.get("page_size").map(str::parse).transpose().map_err(|_| invalid())?;
        let size = said.map_or(Some(PAGE_SIZE), |size| usize::try_from(size).ok());
        let from_one = usize::try_from(number).ok().filter(|number| *number > 0);
        let (Some(number), Some(size @ 1..=MOST_OF_PAGE)) = (from_one, size) else {
            let said = said.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
            let why = format!("Invalid pagination parameters: page number {number}, page size {said}");
            return Err(ApiError::Named("invalid_pagination_parameters", why));
        };
        let filter = query.get("name").filter(|name| !name.is_empty());
        let is_pattern = query.is_true("use_regex");
        let filter = filter.map(|name| Filter::new(name, is_pattern)).transpose()?;
        Ok(Some(Self { number, size, filter }))
    }

    /// Which rows of so many are on it. The first page of nothing is empty.
    fn range(&self, rows: usize) -> Result<(usize, usize), ApiError> {
        let begin = (self.number - 1).saturating_mul(self.size);
        if begin >= rows && self.number > 1 {
            let why =
                format!("Page out of range, page: {} page size: {}, len: {rows}", self.number, self.size);
            return Err(ApiError::Named("page_out_of_range", why));
        }
        Ok((begin, rows.min(begin.saturating_add(self.size))))
    }
}

/// Which names are wanted, whatever the case of their letters.
#[derive(Debug)]
enum Filter {
    Holding(String),
    Matching(Pattern),
}

impl Filter {
    fn new(text: &str, is_pattern: bool) -> Result<Self, ApiError> {
        if text.len() > LONGEST_PATTERN {
            return Err(ApiError::bad(format!("the name should have at most {LONGEST_PATTERN} bytes")));
        }
        if !is_pattern {
            return Ok(Self::Holding(text.to_lowercase()));
        }
        let pattern = Pattern::new(&format!("(?i){text}"));
        let invalid = |error| ApiError::bad(format!("Pagination parameters are invalid: {error}"));
        pattern.map(Self::Matching).map_err(invalid)
    }

    fn lets(&self, name: &str) -> bool {
        match self {
            Self::Holding(part) => name.to_lowercase().contains(part),
            Self::Matching(pattern) => pattern.is_in(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows<(String, u64)> {
        let items = [("b", 2), ("a", 10), ("C", 2)].map(|(name, size)| (name.to_owned(), size)).to_vec();
        Rows::new(items, |(name, _)| name, |(name, size)| json!({ "name": name, "stats": { "size": size } }))
    }

    fn names(query: &str) -> Vec<String> {
        let rows = Order::of(&Query::from(query)).applied(rows());
        rows.items.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn rows_are_sorted_by_what_is_in_them() {
        assert_eq!(names(""), ["b", "a", "C"]);
        assert_eq!(names("sort=name"), ["C", "a", "b"]);
        assert_eq!(names("sort=stats.size&sort=name"), ["C", "b", "a"]);
        assert_eq!(names("sort=stats.size&sort=name&sort_reverse=true"), ["a", "b", "C"]);
        assert_eq!(names("sort=nothing"), ["b", "a", "C"]);
    }

    #[test]
    fn rows_are_made_a_few_at_a_time_and_only_those_that_are_asked_for() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};

        let items: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
        let (made, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (made.clone(), most.clone());
        let make = move |items: &[String]| -> Vec<Option<Value>> {
            counts.0.fetch_add(items.len(), Ordering::Relaxed);
            counts.1.fetch_max(items.len(), Ordering::Relaxed);
            items
                .iter()
                .map(|name| (!name.ends_with('7')).then(|| json!({ "name": name, "last": &name[2..] })))
                .collect()
        };
        let rows = Rows::together(items, |name| name, make);
        let rows = Order::of(&Query::from("sort=name&sort_reverse=true")).applied(rows);
        assert_eq!(made.load(Ordering::Relaxed), 0);
        let page: Vec<Value> = rows.made(&rows.items[..3]).map(|row| row["name"].clone()).collect();
        assert_eq!((page, made.load(Ordering::Relaxed)), (vec![json!("199"), json!("198")], 3));
        let rows = Order::of(&Query::from("sort=last&sort=name")).applied(rows);
        assert_eq!(most.load(Ordering::Relaxed), AT_ONCE);
        assert_eq!(rows.made(&rows.items).count(), 180);
        assert_eq!((&*rows.items[0], &*rows.items[20], &*rows.items[199]), ("197", "000", "199"));
    }

    #[test]
    fn columns_are_paths() {
        let row = json!({ "name": "a", "stats": { "size": 1, "rate": 2 }, "x": [{ "y": 1, "z": 2 }, 3] });
        let of = |query: &str| Columns::of(&Query::from(query)).of_row(row.clone());
        assert_eq!(of("columns="), row);
        assert_eq!(of("columns=name,stats.rate,none"), json!({ "name": "a", "stats": { "rate": 2 } }));
        assert_eq!(of("columns=x.y,stats.none"), json!({ "x": [{ "y": 1 }, {}], "stats": {} }));
    }

    #[test]
    fn pages_have_bounds() {
        let page = |query: &str| Page::of(&Query::from(query));
        assert!(page("").unwrap().is_none());
        let of = |query: &str, rows| page(query).unwrap().unwrap().range(rows);
        assert_eq!(of("page=1", 0), Ok((0, 0)));
        assert_eq!(of("page=2&page_size=5", 7), Ok((5, 7)));
        let Err(ApiError::Named("page_out_of_range", why)) = of("page=9", 12) else { panic!() };
        assert_eq!(why, "Page out of range, page: 9 page size: 100, len: 12");
        for wrong in ["page=0", "page=x", "page=1&page_size=0", "page=1&page_size=501", "page=-1"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_filtered() {
        let lets = |text, is_pattern, name| Filter::new(text, is_pattern).unwrap().lets(name);
        assert!(lets("AB", false, "xaby") && !lets("a.b", false, "axb"));
        assert!(lets("^a.b$", true, "AXB") && !lets("^b", true, "ab"));
        assert!(Filter::new("(", true).is_err() && Filter::new(&"a".repeat(1025), false).is_err());
    }
}
