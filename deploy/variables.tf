variable "project" {
  description = "Project that runs the jobs."
  type        = string
}

variable "location" {
  description = "Region of the jobs, of the bucket and of the repositories."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.location))
    error_message = "Training takes one region, for example europe-west1; EU and eur4 hold several."
  }
}

variable "bucket" {
  description = "Name of the bucket of all runs; <project>-quatrain-<location> by default."
  type        = string
  default     = null
}

variable "source_buckets" {
  description = "Buckets that hold the tables; the runs may read them."
  type        = set(string)
  default     = []
}

variable "submitters" {
  description = "Who submits and schedules runs, as IAM names them: user:, group: or serviceAccount:."
  type        = set(string)
  default     = []
}

variable "publishers" {
  description = "Who pushes images and templates, usually the account of the CI."
  type        = set(string)
  default     = []
}

variable "encryption_key" {
  description = "Customer-managed key in the same region; first let Google use it, by docs/security.md."
  type        = string
  default     = null
}

variable "dataflow" {
  description = "Whether preprocessing may run on Dataflow."
  type        = bool
  default     = false
}
