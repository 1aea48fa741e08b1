//! A Java application's libraries.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::compress::{CompressedLayer, compress};

/// Plugin that copies a project's dependencies.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// A web application with a database, messages and object storage.
const PROJECT: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>3.5.7</version>
    <relativePath/>
  </parent>
  <groupId>dev.zstart</groupId>
  <artifactId>application</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-web</artifactId></dependency>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-data-jpa</artifactId></dependency>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-actuator</artifactId></dependency>
    <dependency><groupId>org.postgresql</groupId><artifactId>postgresql</artifactId></dependency>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-netty-shaded</artifactId><version>1.85.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>software.amazon.awssdk</groupId><artifactId>s3</artifactId><version>2.57.8</version></dependency>
  </dependencies>
</project>
"#;

/// One layer, as Jib creates it for dependencies: jars, which are compressed files.
pub(super) fn layers(work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
    let (root, project) = (work.join("java"), work.join("project"));
    let libraries = root.join("app/libs");
    for folder in [&libraries, &project] {
        fs::create_dir_all(folder)?;
    }
    fs::write(project.join("pom.xml"), PROJECT)?;
    let mut maven = Command::new("mvn");
    maven.current_dir(&project).args(["--batch-mode", "--quiet", PLUGIN]);
    maven.arg(format!("-DoutputDirectory={}", libraries.display()));
    run(&mut maven).context("failed to copy Java libraries (is Maven installed?)")?;
    Ok(vec![compress(&root, layout)?])
}
