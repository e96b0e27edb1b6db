//! Every option misspelt: each gets its own suggestion, all at once.
use outbox::EventLog;

#[derive(EventLog)]
#[event_log(names = "a", versoin = 2, upcst = f, tabel = "t", layuot = "columns", dll(ttl = "x"), renameall = "camelCase", crates = outbox)]
struct Container {
    #[event_log(keys, timestmap, renamed = "x", skipped, flaten, wiht = f, sensitiv, chh(type = "String"))]
    a: u8,
    #[event_log(whatever)]
    b: u8,
}

#[derive(EventLog)]
#[event_log(layout = "columns", ddl(engin = "MergeTree", order = "a", partiton_by = "b", tll = "c"))]
struct Table {
    #[event_log(ch(tipe = "String", codecs = "ZSTD", defualt = "1", coment = "c"))]
    a: u8,
}

#[derive(EventLog)]
enum Several {
    #[event_log(crate = outbox, key, verison = 2)]
    One,
}

fn main() {}
