//! Lists of what vhosts have by name, told a piece at a time: neighbours are mostly of one vhost, which is looked at once.

use std::sync::Arc;

use serde_json::Value;

use crate::broker::vhost::VHost;

/// Something of a vhost that is to be listed.
pub(super) struct Named {
    pub(super) vhost: Arc<VHost>,
    pub(super) name: String,
}

/// What a vhost has of these names.
pub(super) fn named(vhost: &Arc<VHost>, names: Vec<String>) -> impl Iterator<Item = Named> + use<> {
    let vhost = vhost.clone();
    names.into_iter().map(move |name| Named { vhost: vhost.clone(), name })
}

/// The rows of these, none for those that have gone. `views` has what is known of those of one vhost, in the order of the
/// names, and `name` the name of one.
pub(super) fn rows<V>(
    all: &[Named],
    views: impl Fn(&Arc<VHost>, &[String]) -> Vec<V>,
    name: impl Fn(&V) -> &str,
    row: impl Fn(&VHost, &V) -> Value,
) -> Vec<Option<Value>> {
    let mut rows = Vec::with_capacity(all.len());
    for part in all.chunk_by(|a, b| Arc::ptr_eq(&a.vhost, &b.vhost)) {
        let Some(Named { vhost, .. }) = part.first() else { continue };
        let names: Vec<String> = part.iter().map(|named| named.name.clone()).collect();
        let mut views = views(vhost, &names).into_iter().peekable();
        for wanted in &names {
            let view = views.next_if(|view| name(view) == wanted);
            rows.push(view.map(|view| row(vhost, &view)));
        }
    }
    rows
}
