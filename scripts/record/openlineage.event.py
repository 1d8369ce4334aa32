#!/usr/bin/env python3
"""Records what OpenLineage's Python client posts.

Needs    Python 3.11.
Installs openlineage-python into the cache.
Writes   schemas/sources/openlineage.event/testdata/events.ndjson  bodies of POST /api/v1/lineage

A pipeline that makes a training set and trains a model: runs that start,
complete and fail, a table that is overwritten and dropped, a source outside the
house, a job and a dataset told of on their own. Only values of the machine
would be replaced; there are none.
"""

import common

PACKAGES = ["mcp==2.3.0", "openlineage-python==1.54.0"]
common.inside_venv("pipeline", PACKAGES)

import datetime  # noqa: E402
import time  # noqa: E402

import receiver  # noqa: E402
from openlineage.client import OpenLineageClient, set_producer  # noqa: E402
from openlineage.client.event_v2 import Dataset, DatasetEvent, InputDataset, Job, JobEvent, OutputDataset, Run, RunEvent, RunState  # noqa: E402
from openlineage.client.facet_v2 import (  # noqa: E402
    dataset_version_dataset, datasource_dataset, error_message_run, job_type_job, lifecycle_state_change_dataset,
    output_statistics_output_dataset, ownership_dataset, ownership_job, parent_run, schema_dataset, source_code_location_job, sql_job)
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport  # noqa: E402
from openlineage.client.uuid import generate_new_uuid  # noqa: E402

PRODUCER = "https://pipelines.example.com/trainer/2.4"


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def traffic(client):
    parent_id = str(generate_new_uuid())
    parent = parent_run.ParentRunFacet(run=parent_run.Run(runId=parent_id), job=parent_run.Job(namespace="airflow", name="train_llm"))
    crawl = InputDataset("s3://raw", "crawl/2026/", facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion="c9b1f0")})
    pasted = InputDataset("https://files.example.net", "dumps/forum.jsonl", facets={
        "dataSource": datasource_dataset.DatasourceDatasetFacet(name="forum", uri="https://files.example.net/dumps/forum.jsonl")})

    def run(name, outcomes, inputs=(), outputs=(), facets=None, job=None):
        run_id = str(generate_new_uuid())
        for state in outcomes:
            extra = {"errorMessage": error_message_run.ErrorMessageRunFacet(
                message="CUDA out of memory", programmingLanguage="PYTHON", stackTrace="Traceback: made up")} if state == RunState.FAIL else {}
            client.emit(RunEvent(eventTime=now(), eventType=state, run=Run(run_id, {"parent": parent, **(facets or {}), **extra}),
                                 job=Job("airflow", name, job or {}), inputs=list(inputs), outputs=list(outputs)))

    def out(name, change=None, rows=None, namespace="s3://train"):
        facets = {"schema": schema_dataset.SchemaDatasetFacet(fields=[schema_dataset.SchemaDatasetFacetFields("text", "string")])}
        if change:
            facets["lifecycleStateChange"] = lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet(lifecycleStateChange=change)
        stats = {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows, size=rows * 900)} if rows else {}
        return OutputDataset(namespace, name, facets=facets, outputFacets=stats)

    code = source_code_location_job.SourceCodeLocationJobFacet(
        type="git", url="https://git.example.com/ml/train", repoUrl="https://git.example.com/ml/train.git", version="5c1d7e0", branch="main")
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="AIRFLOW", jobType="TASK")
    owner = ownership_job.OwnershipJobFacet(owners=[ownership_job.Owner("team:data", "MAINTAINER")])
    change = lifecycle_state_change_dataset.LifecycleStateChange
    run("train_llm.build_dataset", [RunState.START, RunState.COMPLETE], [crawl], [out("sft/v12", change.OVERWRITE, 120000)],
        job={"sourceCodeLocation": code, "jobType": kind, "ownership": owner})
    run("train_llm.add_forum", [RunState.START, RunState.RUNNING, RunState.COMPLETE], [crawl, pasted], [out("sft/v13", change.CREATE, 480000)], job={"jobType": kind})
    run("warehouse.curate", [RunState.COMPLETE], [InputDataset("postgres://db.example.com:5432", "ml.public.labels")], [out("ml.public.curated", namespace="postgres://db.example.com:5432")],
        job={"sql": sql_job.SQLJobFacet(query="INSERT INTO curated SELECT * FROM labels WHERE score > 0.8")})
    run("train_llm.fine_tune", [RunState.START, RunState.FAIL], [InputDataset("s3://train", "sft/v13")], [out("models/llm-ft/v13", namespace="s3://models")])
    run("train_llm.cleanup", [RunState.ABORT], [], [out("sft/v12", change.DROP)])
    client.emit(DatasetEvent(eventTime=now(), dataset=Dataset("s3://train", "sft/v13", facets={
        "ownership": ownership_dataset.OwnershipDatasetFacet(owners=[ownership_dataset.Owner("user:ana@example.com", "OWNER")])})))
    client.emit(JobEvent(eventTime=now(), job=Job("airflow", "train_llm.fine_tune", {"sourceCodeLocation": code}),
                         inputs=[InputDataset("s3://train", "sft/v13")], outputs=[]))


def main():
    port = common.free_port()
    keep = receiver.Receiver(port)
    set_producer(PRODUCER)
    config = HttpConfig(url=f"http://127.0.0.1:{port}", auth=ApiKeyTokenProvider({"apiKey": "TOKEN"}))
    traffic(OpenLineageClient(transport=HttpTransport(config)))
    time.sleep(0.5)
    keep.stop()
    common.write(common.testdata("openlineage.event") / "events.ndjson", b"".join(b.strip() + b"\n" for _, _, b in keep.bodies))


if __name__ == "__main__":
    main()
