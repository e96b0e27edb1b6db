//! Handlers of a web service: the pool and the body arrive in patterns, and the future must be `Send`.

use axum::Router;
use axum::body::Body;
use axum::extract::{Json, Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox::prelude::*;
use outbox_test::databases::PostgresDatabase;
use serde::Deserialize;
use tower::ServiceExt;

#[derive(Clone, Deserialize)]
struct NewAccount {
    name: String,
}

#[derive(EventLog)]
struct Opened {
    #[event_log(key)]
    name: String,
}

#[derive(Debug, thiserror::Error)]
enum Http {
    #[error("a name is needed")]
    NoName,
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl IntoResponse for Http {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoName => StatusCode::BAD_REQUEST,
            Self::Database(_) => StatusCode::CONFLICT,
        };
        (status, self.to_string()).into_response()
    }
}

#[tracing::instrument(skip_all)]
#[transactional_event(from = &pool, retries = 3, isolation = "serializable")]
async fn open(
    State(pool): State<Pool<AsyncPgConnection>>,
    Path(suffix): Path<String>,
    Json(NewAccount { name }): Json<NewAccount>,
) -> Result<Json<String>, Http> {
    let full = format!("{name}{suffix}");
    diesel::sql_query(format!("INSERT INTO account (name) VALUES ('{full}')")).execute(conn).await?;
    conn.emit(&Opened { name: full.clone() }).await?;
    if name.is_empty() { Err(Http::NoName) } else { Ok(Json(full)) }
}

#[tokio::test]
async fn an_axum_handler_is_a_transaction() {
    let database = PostgresDatabase::create().await;
    let mut conn = AsyncPgConnection::establish(database.url()).await.expect("a connection");
    conn.batch_execute(&outbox::postgres::MIGRATIONS.concat()).await.expect("the outbox");
    conn.batch_execute("CREATE TABLE account (name TEXT PRIMARY KEY)").await.expect("the accounts");
    let manager = AsyncDieselConnectionManager::new(database.url());
    let pool = Pool::builder().max_size(2).build(manager).await.expect("a pool");
    let service = Router::new().route("/accounts/{suffix}", post(open)).with_state(pool);

    for (name, status) in [("ann", StatusCode::OK), ("ann", StatusCode::CONFLICT), ("", StatusCode::BAD_REQUEST)] {
        let request = Request::post("/accounts/-1").header("content-type", "application/json");
        let request = request.body(Body::from(format!(r#"{{"name":"{name}"}}"#))).expect("a request");
        let response = service.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), status, "{name}");
    }
    #[derive(diesel::QueryableByName)]
    struct Key {
        #[diesel(sql_type = diesel::sql_types::Text)]
        key: String,
    }
    let keys =
        diesel::sql_query("SELECT key FROM outbox_event JOIN account ON name = key").load::<Key>(&mut conn).await;
    let keys: Vec<String> = keys.expect("both tables").into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["ann-1"]);
}
