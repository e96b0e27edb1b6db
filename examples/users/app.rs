//! What a service writes: a table, an event, an error, and the function that does the work.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AsyncMysqlConnection, AsyncPgConnection};
use outbox::prelude::*;
use serde::Deserialize;

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Text,
        first_name -> Text,
        last_name -> Text,
    }
}

#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = users)]
pub struct NewUser {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = users)]
#[diesel(check_for_backend(diesel::pg::Pg, diesel::mysql::Mysql, diesel::sqlite::Sqlite))]
pub struct User {
    pub id: i64,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

#[derive(Debug, Deserialize, EventLog)]
pub struct UserCreated {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

impl From<&User> for UserCreated {
    fn from(user: &User) -> Self {
        Self { email: user.email.clone(), first_name: user.first_name.clone(), last_name: user.last_name.clone() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("there is a user with this e-mail already")]
    EmailTaken,
    #[error("the database: {0}")]
    Database(DieselError),
}

impl From<DieselError> for AppError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::EmailTaken,
            error => Self::Database(error),
        }
    }
}

/// PostgreSQL, async.
#[transactional_event]
pub async fn create_user(conn: &mut AsyncPgConnection, new: &NewUser) -> Result<User, AppError> {
    let insert = diesel::insert_into(users::table).values(new).returning(User::as_returning());
    let user: User = diesel_async::RunQueryDsl::get_result(insert, conn).await?;
    conn.emit(&UserCreated::from(&user)).await?;
    Ok(user)
}

/// MySQL and MariaDB, async: without RETURNING, which MySQL does not have.
#[transactional_event]
pub async fn create_user_mysql(conn: &mut AsyncMysqlConnection, new: &NewUser) -> Result<User, AppError> {
    let insert = diesel::insert_into(users::table).values(new);
    diesel_async::RunQueryDsl::execute(insert, conn).await?;
    let query = users::table.filter(users::email.eq(&new.email)).select(User::as_select());
    let user: User = diesel_async::RunQueryDsl::get_result(query, conn).await?;
    conn.emit(&UserCreated::from(&user)).await?;
    Ok(user)
}

/// SQLite, blocking: the same but for the awaiting.
#[transactional_event]
pub fn create_user_blocking(conn: &mut SqliteConnection, new: &NewUser) -> Result<User, AppError> {
    let insert = diesel::insert_into(users::table).values(new).returning(User::as_returning());
    let user: User = diesel::RunQueryDsl::get_result(insert, conn)?;
    conn.emit(&UserCreated::from(&user))?;
    Ok(user)
}
