//! Long-running tasks of a process: a task that ends early fails the process.

use std::collections::HashMap;
use std::convert::Infallible;

use thiserror::Error;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::BoxError;

/// Cause of a process that ended without a shutdown request.
#[derive(Debug, Error)]
pub enum TaskError {
    /// The task returned although it runs until shutdown.
    #[error("task {task} ended before shutdown")]
    Ended {
        /// Name of the task.
        task: &'static str,
    },
    /// The task returned an error.
    #[error("task {task} failed")]
    Failed {
        /// Name of the task.
        task: &'static str,
        /// Error of the task.
        source: BoxError,
    },
    /// The task panicked.
    #[error("task {task} panicked")]
    Panicked {
        /// Name of the task.
        task: &'static str,
        /// Message of the panic.
        source: JoinError,
    },
}

/// Named tasks that run until shutdown. Dropping the supervisor aborts them.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), BoxError>>,
    /// Names of the running tasks.
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Starts a task that can't fail.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.try_spawn(name, async {
            task.await;
            Ok::<(), Infallible>(())
        });
    }

    /// Starts a task whose error fails the process.
    pub fn try_spawn<E: Into<BoxError>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(async { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Runs until `shutdown`, or until the first task ends, which is an error.
    pub async fn run_until(&mut self, shutdown: &CancellationToken) -> Result<(), TaskError> {
        let (task, ended) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(ended) = self.next_ended() => ended,
        };
        // A task may see the request first and end because of it.
        if shutdown.is_cancelled() {
            return Ok(());
        }
        ended?;
        Err(TaskError::Ended { task })
    }

    /// Waits for the end of one task. The others run on.
    pub async fn finish(&mut self, name: &str) -> Result<(), TaskError> {
        while self.names.values().any(|running| *running == name) {
            match self.next_ended().await {
                Some((task, ended)) if task == name => return ended,
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Aborts all tasks and waits until they are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    async fn next_ended(&mut self) -> Option<(&'static str, Result<(), TaskError>)> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let task = self.names.remove(&id).unwrap_or("unnamed");
        let result = match ended {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(source))) => Err(TaskError::Failed { task, source }),
            Err(source) => Err(TaskError::Panicked { task, source }),
        };
        Some((task, result))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    async fn error_of(supervisor: &mut Supervisor) -> String {
        let error = supervisor.run_until(&CancellationToken::new()).await.unwrap_err();
        zstart_core::chain(&error)
    }

    #[tokio::test]
    async fn task_that_ends_early_is_named_in_the_error() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("watches", pending());
        supervisor.spawn("health", async {});
        assert_eq!(error_of(&mut supervisor).await, "task health ended before shutdown");
    }

    #[tokio::test]
    async fn task_error_is_the_cause_of_the_process_error() {
        let mut supervisor = Supervisor::default();
        supervisor.try_spawn("certificates", async { Err("no such name") });
        assert_eq!(error_of(&mut supervisor).await, "task certificates failed: no such name");
    }

    #[tokio::test]
    async fn panicked_task_is_named_in_the_error() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("records", async { panic!("boom") });
        let error = error_of(&mut supervisor).await;
        assert!(error.starts_with("task records panicked: ") && error.contains("boom"), "{error}");
    }

    #[tokio::test]
    async fn task_that_ends_because_of_shutdown_is_no_error() {
        let (mut supervisor, shutdown) = (Supervisor::default(), CancellationToken::new());
        supervisor.spawn("reconciler", shutdown.clone().cancelled_owned());
        shutdown.cancel();
        supervisor.run_until(&shutdown).await.unwrap();
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn finish_waits_for_the_named_task_only() {
        let mut supervisor = Supervisor::default();
        let stop = CancellationToken::new();
        supervisor.spawn("watches", pending());
        supervisor.spawn("health", async {});
        supervisor.spawn("server", stop.clone().cancelled_owned());
        assert!(futures_pending(supervisor.finish("server")).await);
        stop.cancel();
        supervisor.finish("server").await.unwrap();
        // The server has ended, so the second call returns at once.
        supervisor.finish("server").await.unwrap();
    }

    async fn futures_pending(future: impl Future) -> bool {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }
}
