#!/usr/bin/env python3
"""Makes SYNTHETIC records of model invocation logging of Amazon Bedrock.

Needs    python3.
Installs nothing.
Writes   schemas/sources/aws.bedrock_invocation/testdata/synthetic_invocations.ndjson

The service is paid: nothing is recorded.
"""

import corpus
import synthetic as s

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def log(i, operation, body, answer, model=CLAUDE, tokens=(21, 9), arn="arn:aws:sts::111122223333:assumed-role/rag-role/rag", **more):
    return {"schemaType": "ModelInvocationLog", "schemaVersion": "1.0", "timestamp": s.at(i, "%Y-%m-%dT%H:%M:%SZ"), "accountId": "111122223333", "identity": {"arn": arn}, "region": "us-west-2", "requestId": f"ba78ac1f-5ea4-4e2a-a936-92f7{i:08d}", "operation": operation, "modelId": model,
            "input": {"inputContentType": "application/json", "inputBodyJson": body, "inputTokenCount": tokens[0]}, "output": {"outputContentType": "application/json", "outputBodyJson": answer, "outputTokenCount": tokens[1]}} | more


def claude(text, system="You answer support tickets."):
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "system": system, "messages": [{"role": "user", "content": text}]}


def said(text, **more):
    return {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": {"input_tokens": 21, "output_tokens": 9}} | more


def converse(text):
    return {"messages": [{"role": "user", "content": [{"text": text}]}], "system": [{"text": "You are a helpful assistant."}], "inferenceConfig": {"maxTokens": 512}}


def answered(text, reason="end_turn", **more):
    return {"output": {"message": {"role": "assistant", "content": [{"text": text}]}}, "stopReason": reason, "usage": {"inputTokens": 30, "outputTokens": 12, "totalTokens": 42}, "metrics": {"latencyMs": 812}} | more


ATTACK = list(corpus.attacks())[0][1]
BLOCKED = {"guardrail": {"actionReason": "Guardrail blocked.", "input": {"h28w": {"contentPolicy": {"filters": [{"type": "PROMPT_ATTACK", "confidence": "HIGH", "filterStrength": "HIGH", "action": "BLOCKED", "detected": True}]}}}}}
RECORDS = [
    log(1, "InvokeModel", claude(corpus.BENIGN[0]), said("Of course.")),
    log(2, "InvokeModel", claude(ATTACK), said("Blocked.", **{"amazon-bedrock-guardrailAction": "INTERVENED", "amazon-bedrock-trace": BLOCKED})),
    log(3, "Converse", converse(corpus.BENIGN[1]), answered("Here it is."), model="arn:aws:bedrock:us-west-2:111122223333:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0", inferenceRegion="us-east-1", requestMetadata={"team": "support"}),
    log(4, "Converse", converse(ATTACK), answered("Sorry, I cannot help with that.", "guardrail_intervened", trace=BLOCKED)),
    log(5, "InvokeModelWithResponseStream", claude(corpus.BENIGN[2]), [{"type": "message_start", "message": {"id": "msg_5", "role": "assistant"}}, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Sure"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}]),
    log(6, "InvokeModel", {"inputText": "embed this", "dimensions": 512}, {"embedding": [0.1, 0.2], "inputTextTokenCount": 3}, model="amazon.titan-embed-text-v2:0", tokens=(3, 0)),
    {k: v for k, v in log(7, "InvokeModel", None, None, arn="arn:aws:iam::111122223333:user/leaked").items() if k != "output"} | {"errorCode": "ValidationException", "input": {"inputContentType": "application/json", "inputBodyJson": claude("hi") | {"max_tokens": -1}}},
    log(8, "Converse", converse("What is the weather?") | {"toolConfig": {"tools": [{"toolSpec": {"name": "get_weather"}}]}}, {"output": {"message": {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t-1", "name": "get_weather", "input": {"city": "Osaka"}}}]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 50, "outputTokens": 20, "totalTokens": 70}, "metrics": {"latencyMs": 300}}),
    log(9, "InvokeModel", None, None) | {"input": {"inputContentType": "application/json", "inputBodyS3Path": "s3://acme-bedrock/data/in.json.gz", "inputTokenCount": 90000}, "output": {"outputContentType": "application/json", "outputBodyS3Path": "s3://acme-bedrock/data/out.json.gz", "outputTokenCount": 4000}},
]

if __name__ == "__main__":
    s.write("aws.bedrock_invocation", "synthetic_invocations.ndjson", RECORDS)
