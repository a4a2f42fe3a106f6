output "cloud_yaml" {
  description = "The content of cloud.yaml. Add the digest of the image that you push; docs/operations.md shows how to name one more for GPUs or TPUs."
  value       = <<-EOT
    project: ${var.project}
    location: ${var.location}
    root: gs://${google_storage_bucket.runs.name}/quatrain
    image: ${var.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/quatrain
    service_account: ${google_service_account.trainer.email}
    registry: https://${var.location}-kfp.pkg.dev/${var.project}/${google_artifact_registry_repository.templates.repository_id}
    ${var.encryption_key == null ? "" : "encryption_key: ${var.encryption_key}"}
  EOT
}
