use super::{images, parse, require_edit};
use crate::{Cpu, Format, Target};

const OLD: &str = "r.example/app:v1";

const TEMPLATE: &str = "\
AWSTemplateFormatVersion: '2010-09-09'
Parameters:
  Image: {Type: String, Default: 'r.example/other:v1'}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties: {RoleName: !Sub '${AWS::StackName}-task'}
  Forecast:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: !Ref AWS::StackName
      RuntimePlatform: {CpuArchitecture: ARM64, OperatingSystemFamily: LINUX}
      ContainerDefinitions:
        - Name: app
          Image: r.example/app:v1  # the model
          Environment: [{Name: MODE, Value: Image}]
        - !If
          - WithCache
          - {Name: cache, Image: \"r.example/cache:v1\"}
          - !Ref AWS::NoValue
        - Name: log
          Image: !Sub '${AWS::AccountId}.dkr.ecr.eu-west-1.amazonaws.com/log:v1'
        - Name: secret
          Image: '{{resolve:ssm:/shop/image:1}}'
        - Name: joined
          Image: !Join [':', [r.example/joined, !Ref Tag]]
        - {Name: none, Image: !Ref Image}
";

#[test]
fn template_is_edited_in_place() {
    let manifest = parse(TEMPLATE, Format::Yaml);
    let expected = [
        "task Forecast, container app: r.example/app:v1",
        "task Forecast, container cache: r.example/cache:v1",
        "task Forecast, container log: ('${AWS::AccountId}.dkr.ecr.eu-west-1.amazonaws.com/log:v1')",
        "task Forecast, container secret: ('{{resolve:ssm:/shop/image:1}}')",
        "task Forecast, container joined: ([…])",
        "task Forecast, container none: (Image)",
    ];
    assert_eq!(images(&manifest), expected);
    assert_eq!(manifest.images()[0].target, Target::Ecs(Some(Cpu::Arm)));
    assert_eq!(manifest.images()[0].line, 15);
    require_edit(TEMPLATE, Format::Yaml, OLD);
}

#[test]
fn template_in_json_is_edited_in_place() {
    let text = "{\"Resources\": {\"Web\": {\"Type\": \"AWS::ECS::TaskDefinition\", \"Properties\": {
        \"ContainerDefinitions\": [
          {\"Name\": \"app\", \"Image\": \"r.example/app:v1\"},
          {\"Name\": \"log\", \"Image\": {\"Fn::Sub\": \"${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/a:b\"}}
        ]}}}}";
    let expected = ["task Web, container app: r.example/app:v1", "task Web, container log: ({Fn::Sub: …})"];
    assert_eq!(images(&parse(text, Format::Json)), expected);
    require_edit(text, Format::Json, OLD);
}

#[test]
fn containers_of_another_template_are_listed() {
    let text = "Resources:
  Web:
    Type: AWS::ECS::TaskDefinition
    Properties:
      ContainerDefinitions: {'Fn::Transform': {Name: 'AWS::Include', Parameters: {Location: 's3://bucket/web'}}}
";
    assert_eq!(images(&parse(text, Format::Yaml)), ["task Web: ({Fn::Transform: …})"]);
}

#[test]
fn other_resources_are_skipped() {
    for text in [
        "Resources: {Job: {Type: 'AWS::Batch::JobDefinition', Properties: {Image: 'r.example/app:v1'}}}",
        "Resources: {Web: {Type: 'AWS::ECS::TaskDefinition'}}",
        "Resources: [1]",
        "Resources: {Web: {Type: Deployment}}",
    ] {
        assert_eq!(images(&parse(text, Format::Yaml)), [""; 0], "{text}");
    }
}
